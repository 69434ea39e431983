"""Words and figures that somebody new to the program meets: logs, lists, refusals."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import click
import pytest

from pilot.cli import demo, status
from pilot.cli import main as command_line
from pilot.cli.settings import load
from pilot.core.facts import Facts
from pilot.core.job import JobDefinition
from pilot.core.lifecycle import Job
from pilot.db.store import Store
from pilot.engine.reserve import Reserve
from pilot.lib.log import JobLog, to_stderr
from pilot.lib.loop import Loop
from pilot.lib.redact import Redactor

_ONLY_DEEP = "is a directory: only with `recursive` (-r) does it go, with all that is in it"


def _end(capsys: pytest.CaptureFixture[str], *argv: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        command_line.main([str(word) for word in argv])
    said = capsys.readouterr()
    return int(ended.value.code or 0), said.out, said.err


@pytest.fixture
def own_log() -> Iterator[None]:
    """The program's logger is afterwards what it was."""
    root = logging.getLogger("pilot")
    before = root.handlers[:], root.level, root.propagate
    yield
    root.handlers[:], root.level, root.propagate = before


@pytest.fixture
def running(tmp_path: Path) -> Path:
    """A work directory with one job that was acquired a hundred seconds ago and has written its log."""
    definition = JobDefinition(job_id=1, attempt=1, raw={"PandaID": 1})
    directory = tmp_path / "job-1.1"
    directory.mkdir()
    (directory / "payload.stdout").write_text("so far\n")
    store = Store(tmp_path / "pilot.db")
    assert store.add_job(definition, Job(definition.key), Facts(acquired=time.time() - 100), str(directory), 1)
    store.close()
    return tmp_path


@pytest.mark.usefixtures("own_log")
def test_the_log_on_stderr_keeps_to_its_level_for_lines_about_jobs_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    to_stderr("warning", Redactor())
    log = JobLog("1.1", tmp_path, Redactor())
    log.info("all is well")
    log.error("it went wrong")
    log.close()
    said = capsys.readouterr().err
    assert "it went wrong" in said and "all is well" not in said
    assert "all is well" in (tmp_path / "pilot.log").read_text()


def test_a_job_under_way_has_taken_all_the_time_until_now(running: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = _end(capsys, "status", "--db", running, "--json")
    assert code == 0 and 100 <= json.loads(out)["jobs"][0]["seconds"] < 1000


def test_a_file_that_a_job_has_not_is_told_by_tail(running: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = _end(capsys, "tail", "1", "--file", "nope", "--db", running)
    assert (code, out) == (2, "")
    assert err == f"pilot: --file nope: there is no such file in {running}/job-1.1\n"
    assert _end(capsys, "tail", "1", "--file", "payload.stdout", "--db", running)[:2] == (0, "so far\n")


@pytest.mark.parametrize("value", [-1.0, float("nan")])
def test_a_number_below_zero_is_refused_wherever_it_stands(tmp_path: Path, value: float) -> None:
    with pytest.raises(click.UsageError, match=r"--heartbeat: heartbeat is (-1.0|nan), expected 0 or more"):
        load({"heartbeat": value}, [], {})
    (tmp_path / "a.toml").write_text("[pilot]\njobs = -4\n")
    with pytest.raises(click.UsageError, match="jobs is -4, expected 0 or more"):
        load({}, [tmp_path / "a.toml"], {})
    assert load({"jobs": 0}, [], {}).jobs == 0


def test_what_cannot_be_removed_is_told_as_such(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "full").mkdir()
    code, _, err = _end(capsys, "cleanup", tmp_path / "full")
    assert code == 1
    assert err == f"{tmp_path}/full: not removed: {tmp_path}/full {_ONLY_DEEP}\n"


def test_what_is_known_of_a_bad_place_for_records_is_told_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "list").write_text("[]")
    code, _, err = _end(capsys, "transfer", tmp_path / "list", "--db", tmp_path / "no" / "such.db")
    assert code == 2 and err.startswith(f"pilot: --db: the PilotDB {tmp_path}/no/such.db") and err.count("\n") == 1
    code, _, err = _end(capsys, "run", "--source", "local", tmp_path, "--workdir", tmp_path / "w")
    assert (code, err) == (2, f"pilot: {tmp_path}: Is a directory\n")


def test_a_benchmark_that_cannot_be_kept_does_not_say_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("benchmark", "--command", "echo 5", "--score", r"(\d+)", "--cache")
    code, out, _ = _end(capsys, *words, tmp_path / "no" / "b.json")
    assert code == 0 and f"not kept: {tmp_path}/no/b.json cannot be written" in out
    assert f"kept in {tmp_path}/b.json" in _end(capsys, *words, tmp_path / "b.json")[1]


def test_too_little_disk_is_told_with_what_there_is_and_what_it_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(Loop()) as loop:
        reserve = Reserve(tmp_path, loop, 1.0)
        assert reserve.short() == ""
        monkeypatch.setattr(os, "statvfs", lambda path: SimpleNamespace(f_bavail=75, f_frsize=4096))
        assert reserve.short() == "300 KiB free, 3072 KiB needed"
        (tmp_path / ".reserve").touch()
        assert reserve.short() == "300 KiB free, 2048 KiB needed"


def test_the_demo_names_the_program_as_it_was_called(monkeypatch: pytest.MonkeyPatch) -> None:
    report = {"jobs": [], "db": "/d/pilot.db", "workdir": "/d", "seconds": 1.0}
    monkeypatch.setenv("PILOT_PROGRAM", "bin/pilot")
    assert "look closer   bin/pilot show " in demo._text(report)
    monkeypatch.delenv("PILOT_PROGRAM")
    assert "look closer   pilot show " in demo._text(report)


def test_a_reason_that_is_too_long_for_the_list_shows_that_it_goes_on() -> None:
    assert status._short("x" * 80) == "x" * 80
    assert status._short("x" * 81) == "x" * 79 + "…"
