"""Commands around a payload, run by a real shell; and which jobs they are for."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from pilot.core.job import JobDefinition, Step
from pilot.core.queue import QueueData
from pilot.runtime.payload_command import payload_command
from pilot.runtime.utilities import NOTES, Utility, When, chosen, read_notes, with_utilities
from tests.spawning import TIDY, told_to_end

PAYLOAD = JobDefinition(1, transformation="/bin/sh", parameters="-c 'echo payload >> order; exit 3'")


def run(folder: Path, utilities: list[Utility], job: JobDefinition = PAYLOAD) -> int:
    command = payload_command(job, utilities=utilities)
    return subprocess.run(command.argv, cwd=folder, timeout=60, env={"PATH": "/usr/bin:/bin", "A": "b c"}).returncode


def notes(folder: Path) -> list[tuple[str, int]]:
    return read_notes((folder / NOTES).read_text())


def test_they_run_in_their_order_and_leave_the_payloads_exit_code_alone(tmp_path: Path) -> None:
    utilities = [
        Utility(name="last", command="echo after $PILOT_PAYLOAD_EXIT >> order; exit 9", when=When.AFTER),
        Utility(name="first", command="echo before $A >> order; echo told; echo wrong >&2; false", when=When.BEFORE),
    ]
    assert run(tmp_path, utilities) == 3
    assert (tmp_path / "order").read_text().splitlines() == ["before b c", "payload", "after 3"]
    assert (tmp_path / "utilities" / "first.stdout").read_text() == "told\n"
    assert (tmp_path / "utilities" / "first.stderr").read_text() == "wrong\n"
    assert notes(tmp_path) == [("first", 1), ("last", 9)]


def test_one_beside_the_payload_knows_its_process_and_ends_with_it(tmp_path: Path) -> None:
    command = "ls -d /proc/$PILOT_PAYLOAD_PID > seen; (sleep 611 & sleep 612); echo never > late"
    line = "while [ ! -s seen ]; do sleep 0.02; done; for i in 1 2 3 4 5; do sleep 0.02; done"
    job = JobDefinition(1, transformation="/bin/sh", parameters=f"-c '{line}'")
    assert run(tmp_path, [Utility(name="watch", command=command)], job) == 0
    assert (tmp_path / "seen").read_text().startswith("/proc/")
    assert not (tmp_path / "late").exists()
    assert [name for name, _ in notes(tmp_path)] == ["watch"]
    left = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout.splitlines()
    assert not {"sleep 611", "sleep 612"} & set(left)


def test_one_beside_the_payload_that_hears_nothing_is_killed_however_short_the_payload_is(tmp_path: Path) -> None:
    deaf = Utility(name="deaf", command="trap '' TERM; while :; do sleep 0.05; done")
    slow = Utility(name="slow", command="sleep 600")
    assert run(tmp_path, [deaf, slow]) == 3
    assert [name for name, _ in notes(tmp_path)] == ["deaf", "slow"]


def test_one_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    assert run(tmp_path, [Utility(name="slow", command="sleep 600", when=When.BEFORE, limit_s=1)]) == 3
    assert notes(tmp_path) == [("slow", 124)]


def test_a_payload_that_is_told_to_end_has_its_time_and_nothing_follows(tmp_path: Path) -> None:
    job = JobDefinition(1, transformation="/bin/sh", parameters=f"-c '{TIDY}'")
    command = payload_command(job, utilities=[Utility(name="last", command="touch followed", when=When.AFTER)])
    assert told_to_end(command.argv, tmp_path) == 7
    assert (tmp_path / "tidied").exists() and not (tmp_path / "followed").exists()


def test_steps_of_the_job_are_inside_of_them(tmp_path: Path) -> None:
    job = JobDefinition(
        1, transformation="/bin/sh", parameters="-c 'echo payload >> order'", preprocess=Step("echo", "step >> order")
    )
    utilities = [
        Utility(name="a", command="echo before >> order", when=When.BEFORE),
        Utility(name="b", command="echo after >> order", when=When.AFTER),
    ]
    assert run(tmp_path, utilities, job) == 0
    assert (tmp_path / "order").read_text().split() == ["before", "step", "payload", "after"]


def test_without_any_the_payload_is_started_as_ever() -> None:
    early = Utility(name="early", command="true", when=When.BEFORE_STAGE_IN)
    assert with_utilities([early], "exec x") == "exec x"
    assert payload_command(PAYLOAD).line.startswith("exec ")


def test_they_are_for_the_jobs_that_fit_all_of_their_lists() -> None:
    job, queue = JobDefinition(1, label="managed", platform="x86_64-el9-gcc13-opt"), QueueData("CERN_PROD")
    cases = {
        "all": Utility(command="x"),
        "queue": Utility(command="x", queues=("CERN_*",)),
        "both": Utility(command="x", queues=("CERN_*",), labels=("user", "man*")),
        "no": Utility(command="x", queues=("CERN_*",), labels=("user",)),
        "platform": Utility(command="x", platforms=("x86_64-el9-*",)),
    }
    fitting = chosen(list(cases.values()), job, queue)
    assert [name for name, one in cases.items() if one in fitting] == ["all", "queue", "both", "platform"]


def test_a_name_that_could_be_a_path_is_none() -> None:
    with pytest.raises(ValueError, match="cannot be the name"):
        Utility(name="../x", command="true")
