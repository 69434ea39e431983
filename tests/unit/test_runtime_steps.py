"""Steps around a payload, run by a real shell."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from pilot.core.job import JobDefinition, Step
from pilot.runtime.payload_command import payload_command
from pilot.runtime.steps import NOTES, payload_code, read_notes, verdict
from tests.spawning import TIDY, told_to_end


def _job(pre: str = "", post: str = "", co: str = "", payload: str = "true", hpo: bool = False) -> JobDefinition:
    def step(line: str) -> Step | None:
        return Step("/bin/sh", f'-c "{line}"') if line else None

    return JobDefinition(
        1,
        transformation="/bin/sh",
        parameters=f"-c '{payload}'",
        preprocess=step(pre),
        postprocess=step(post),
        coprocess=step(co),
        hpo=hpo,
    )


def _run(job: JobDefinition, folder: Path) -> tuple[int, list[tuple[str, int]]]:
    done = subprocess.run(payload_command(job).argv, cwd=folder, check=False, timeout=20)
    notes = folder / NOTES
    return done.returncode, [(n.name, n.code) for n in read_notes(notes.read_text() if notes.exists() else "")]


def test_steps_run_in_their_order_and_the_payloads_code_is_the_jobs(tmp_path: Path) -> None:
    job = _job("echo pre >> order", "echo post >> order", payload="echo payload >> order; exit 3")
    code, notes = _run(job, tmp_path)
    assert (tmp_path / "order").read_text().split() == ["pre", "payload", "post"]
    assert code == 3
    assert notes == [("preprocess", 0), ("payload", 3), ("postprocess", 0)]


def test_a_failed_preprocess_keeps_the_payload_from_running(tmp_path: Path) -> None:
    job = _job("echo no data >&2; exit 5", payload="touch ran")
    code, notes = _run(job, tmp_path)
    assert code == 5
    assert not (tmp_path / "ran").exists()
    failure = verdict(job, read_notes((tmp_path / NOTES).read_text()), "no data")
    assert failure is not None and failure.code == 1356 and "exit code 5" in failure.message
    assert (tmp_path / "preprocess.stderr").read_text() == "no data\n"
    assert payload_code(read_notes("preprocess 5")) is None and notes == [("preprocess", 5)]


def test_a_failed_postprocess_is_told_and_does_not_hide_the_payloads_code(tmp_path: Path) -> None:
    job = _job(post="exit 9", payload="exit 4")
    code, notes = _run(job, tmp_path)
    assert code == 4
    assert notes == [("payload", 4), ("postprocess", 9)]
    failure = verdict(job, read_notes((tmp_path / NOTES).read_text()))
    assert failure is not None and failure.code == 1357


def test_a_coprocess_runs_beside_the_payload_and_ends_with_it(tmp_path: Path) -> None:
    job = _job(co="echo $$ > co.pid; exec sleep 60", payload="while [ ! -s co.pid ]; do sleep 0.02; done")
    assert _run(job, tmp_path)[0] == 0
    pid = int((tmp_path / "co.pid").read_text())
    assert not Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize("end", [160, 161, 162])
def test_a_loop_goes_on_until_the_preprocess_says_it_is_over(tmp_path: Path, end: int) -> None:
    pre = f"echo x >> turns; [ $(wc -l < turns) -le 3 ] || exit {end}"
    job = _job(pre.replace("$", "\\$"), "cp point out_$PILOT_EXEC_ITERATION_COUNT", payload="date > point", hpo=True)
    code, notes = _run(job, tmp_path)
    assert code == 0
    assert [name for name, _ in notes].count("payload") == 3
    assert sorted(p.name for p in tmp_path.glob("out_*")) == ["out_0", "out_1", "out_2"]
    assert verdict(job, read_notes((tmp_path / NOTES).read_text())) is None


def test_a_loop_without_any_point_fails(tmp_path: Path) -> None:
    job = _job("exit 160", payload="touch ran", hpo=True)
    _run(job, tmp_path)
    failure = verdict(job, read_notes((tmp_path / NOTES).read_text()))
    assert failure is not None and failure.code == 1356


def test_a_payload_with_steps_that_is_told_to_end_has_its_time(tmp_path: Path) -> None:
    job = JobDefinition(
        1, transformation="/bin/sh", parameters=f"-c '{TIDY}'", postprocess=Step("touch", "followed"), hpo=True
    )
    assert told_to_end(payload_command(job).argv, tmp_path) == 7
    assert (tmp_path / "tidied").exists() and not (tmp_path / "followed").exists()
