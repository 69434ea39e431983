"""An exception that nobody expected: payloads are ended, their jobs reported, and one line says where to look."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from pilot.cli import main as command_line
from pilot.cli import run as command
from pilot.core.errors import FileHandlingFailure
from pilot.engine import payload, stagein
from pilot.engine.payloadway import PayloadWay
from pilot.plugins.sources.dummy import DummySource
from tests.bench import Bench, shell_job

MEETS = "while [ ! -s ../pid.2 ]; do sleep 0.05; done"
LONG = "echo $$ > ../pid.$PandaID; trap 'exit 7' TERM; sleep 100 & wait"


def boom() -> None:
    raise ValueError("boom in the loop")


def once_started(bench: Bench, call: Callable[[], Any], *numbers: int) -> None:
    """Have something done in the loop as soon as these payloads run."""
    pids = [bench.workdir / f"pid.{number}" for number in numbers]

    def look() -> None:
        if all(pid.exists() and pid.stat().st_size for pid in pids):
            call()
        else:
            bench.means.loop.after(0.05, look)

    bench.at(0.05, look)


def test_an_exception_in_the_loop_ends_and_reports_all_jobs(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(tmp_path, DummySource([shell_job(1, LONG), shell_job(2, LONG)], endless=True))
    once_started(bench, boom, 1, 2)
    assert bench.run(slots="2", patience_s=90.0, grace=60.0, cleanup="none") == 70
    for number in (1, 2):
        final = bench.final(number)
        assert final.error is not None and final.error.code == 1301 and "ValueError: boom in the loop" in str(final)
        assert [file.lfn for file in final.report or ()] == [f"job.{number}.log.tgz"]
        pid = int((bench.workdir / f"pid.{number}").read_text())
        assert not Path(f"/proc/{pid}").exists()
        assert 'raise ValueError("boom in the loop")' in (bench.directory(number) / "pilot.log").read_text()
    assert 'raise ValueError("boom in the loop")' in (bench.workdir / "pilot.log").read_text()
    with bench.reading() as db:
        assert db.execute("SELECT exit_code FROM pilots").fetchall() == [(70,)]


def test_the_pilot_says_so_in_one_line_that_names_the_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bench = Bench(tmp_path, DummySource([], endless=True))
    handler = logging.StreamHandler()
    said: list[str] = []
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("pilot.agent")
    logger.addHandler(handler)
    bench.at(0.1, boom)
    try:
        assert bench.run(getjob_requests=0) == 70
    finally:
        logger.removeHandler(handler)
    lines = [line for line in said if "boom" in line and "traceback" in line]
    assert len(lines) == 1 and lines[0].endswith(f"its traceback is in {bench.workdir}/pilot.log")
    assert "Traceback" not in capsys.readouterr().err


def test_a_job_that_went_wrong_beyond_help_is_reported_too_and_the_others_end_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    collect = PayloadWay._collect

    def breaks(self: PayloadWay, run: Any, finish: Any) -> None:
        if run.definition.job_id == 1:
            raise KeyError("no such thing")
        collect(self, run, finish)

    monkeypatch.setattr(PayloadWay, "_collect", breaks)
    bench = Bench(tmp_path, DummySource([shell_job(1, MEETS), shell_job(2, LONG)], endless=True))
    assert bench.run(slots="2", patience_s=90.0, grace=10.0) == 70
    assert [bench.final(number).error.code for number in (1, 2)] == [1301, 1301]  # type: ignore[union-attr]
    assert [file.lfn for file in bench.final(2).report or ()] == ["job.2.log.tgz"]
    assert (bench.finals(1), bench.finals(2)) == (1, 1)


def test_a_known_error_that_nobody_caught_keeps_its_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(means: Any, run: Any) -> None:
        raise FileHandlingFailure("the PilotDB: database disk image is malformed")

    monkeypatch.setattr(payload, "end", breaks)
    bench = Bench(tmp_path, DummySource([shell_job(1, LONG)], endless=True))
    once_started(bench, lambda: bench.agent.runner.stop(bench.agent.runner.active["1.1"], failure()), 1)
    assert bench.run(patience_s=90.0, grace=3.0) == 67
    assert bench.finals(1) == 1


def failure() -> Any:
    from pilot.core.errors import PandaKill

    return PandaKill("test").failure()


def test_a_loop_in_which_every_turn_goes_wrong_still_ends_its_jobs(tmp_path: Path) -> None:
    bench = Bench(tmp_path, DummySource([shell_job(1, LONG)], endless=True))

    def always() -> None:
        bench.means.loop.after(1.0, always)
        raise RuntimeError("again and again")

    once_started(bench, always, 1)
    assert bench.run(patience_s=90.0) == 70
    assert bench.finals(1) == 1


def test_jobs_that_cannot_even_be_noted_are_left_to_the_next_pilot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = DummySource([shell_job(1, LONG)], endless=True)
    bench = Bench(tmp_path, source)

    def breaks(*words: Any) -> None:
        raise RuntimeError("no more notes")

    def spoil() -> None:
        monkeypatch.setattr(bench.store, "save", breaks)
        boom()

    once_started(bench, spoil, 1)
    assert bench.run(patience_s=90.0, grace=2.0) == 70
    assert bench.finals(1) == 0
    pid = int((bench.workdir / "pid.1").read_text())
    assert not Path(f"/proc/{pid}").exists()
    second = Bench(tmp_path, source)
    source.endless = False
    assert second.run(patience_s=60.0, reruns=0) == 0
    assert second.finals(1) == 1


def test_an_exception_in_a_thread_fails_its_job_alone_and_is_in_the_jobs_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = stagein.stage_in

    def breaks(means: Any, run: Any) -> Any:
        return 1 / 0 if run.definition.job_id == 1 else real(means, run)

    monkeypatch.setattr(stagein, "stage_in", breaks)
    bench = Bench(tmp_path, DummySource([shell_job(1, "true"), shell_job(2, "true")]))
    assert bench.run(patience_s=40.0, cleanup="none") == 0
    assert bench.final(1).error is not None and bench.final(1).error.code == 1301 and bench.final(2).error is None
    assert "return 1 / 0" in (bench.directory(1) / "pilot.log").read_text()


def test_an_exception_while_jobs_are_asked_for_ends_the_pilot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = DummySource([shell_job(1, LONG)], endless=True)
    real = source.acquire

    def breaks(capacity: Any) -> Any:
        return real(capacity) if source.jobs else 1 / 0

    monkeypatch.setattr(source, "acquire", breaks)
    bench = Bench(tmp_path, source)
    assert bench.run(slots="2", patience_s=60.0) == 70
    assert bench.final(1).error is not None and bench.final(1).error.code == 1301
    assert "else 1 / 0" in (bench.workdir / "pilot.log").read_text()


def test_an_exception_while_jobs_are_reported_keeps_the_reports_for_the_next_pilot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = DummySource([shell_job(1, "true")])
    real = source.report

    def breaks(updates: Any) -> Any:
        raise TypeError("cannot say that")

    monkeypatch.setattr(source, "report", breaks)
    bench = Bench(tmp_path, source)
    assert bench.run(patience_s=60.0, grace=2.0) == 70
    assert 'raise TypeError("cannot say that")' in (bench.workdir / "pilot.log").read_text()
    monkeypatch.setattr(source, "report", real)
    assert Bench(tmp_path, source).run(patience_s=60.0) == 0
    assert bench.finals(1) == 1


def test_an_exception_before_the_loop_is_one_line_and_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*words: Any, **more: Any) -> None:
        raise LookupError("nothing there")

    monkeypatch.setattr(command, "_run", breaks)
    done = CliRunner().invoke(command.command, ["--source", "local", "--workdir", str(tmp_path)])
    assert done.exit_code == 70
    assert f"(LookupError: nothing there); its traceback is in {tmp_path}/pilot.log" in done.stderr
    assert 'raise LookupError("nothing there")' in (tmp_path / "pilot.log").read_text()


def test_any_other_command_tells_it_so_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def breaks(*words: Any, **more: Any) -> None:
        raise LookupError("nothing there")

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(command_line.cli, "main", breaks)
    with pytest.raises(SystemExit) as ended:
        command_line.main(["status"])
    said = capsys.readouterr().err
    assert ended.value.code == 70 and said.count("\n") == 1
    (log,) = tmp_path.glob("pilot-*.log")
    assert said.rstrip().endswith(str(log)) and "LookupError" in log.read_text()


def test_a_work_directory_that_takes_no_file_is_told(tmp_path: Path) -> None:
    (tmp_path / ".pilot.lock").mkdir()  # not even root can write a directory
    done = CliRunner().invoke(command.command, ["--source", "local", "--workdir", str(tmp_path)])
    assert done.exit_code == 66 and f"{tmp_path} cannot be written: Is a directory" in done.stderr
