"""How many jobs may be fetched ahead, and what the server is asked for: pure accounting over the jobs under way."""

from __future__ import annotations

import os
from collections import deque
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pilot.core.facts import Facts
from pilot.core.job import InputFile, JobDefinition
from pilot.core.lifecycle import Job, Phase
from pilot.core.settings import Settings
from pilot.engine.ahead import Ahead
from pilot.engine.means import Run
from pilot.lib.log import JobLog
from pilot.lib.redact import Redactor
from pilot.runtime.slots import EqualSlots, Grant, Node, Packed, Slots

GB = 1 << 30


class Place:
    """A disk of a known size with jobs on it."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, free: int, slots: Slots, prefetch: int) -> None:
        self.folder, self.slots = folder, slots
        self.active: dict[str, Run] = {}
        self.waiting: deque[Run] = deque()
        monkeypatch.setattr(os, "statvfs", lambda path: SimpleNamespace(f_bavail=free, f_frsize=1))
        means: Any = SimpleNamespace(settings=Settings(prefetch_jobs=prefetch), workdir=folder, slots=slots)
        self.ahead = Ahead(means, self.active, self.waiting)

    def job(self, phase: Phase, *, input_gb: float = 0, disk_gb: int = 0, grant: bool = False) -> Run:
        number = len(self.active) + 1
        inputs = (InputFile("in", size=int(input_gb * GB)),) if input_gb else ()
        definition = JobDefinition(job_id=number, inputs=inputs, disk_mb=disk_gb * 1024)
        folder = self.folder / f"job-{number}"
        folder.mkdir()
        key = f"{number}.1"
        log = JobLog(key, folder, Redactor())
        run = Run(definition, Job(key, phase), Facts(acquired=0.0), folder, log)
        log.close()
        run.grant = Grant(key, 1) if grant else None
        self.active[key] = run
        return run


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    def make(free_gb: float, prefetch: int = 4, slots: Slots | None = None) -> Place:
        return Place(tmp_path, monkeypatch, int(free_gb * GB), slots or EqualSlots(Node(4), 4), prefetch)

    return make


def test_inputs_that_are_still_to_come_count_as_taken(place: Any) -> None:
    disk = place(13)
    disk.job(Phase.STAGING_IN, input_gb=4, grant=False)
    assert disk.ahead.may_fetch(disk.job(Phase.ACQUIRED, input_gb=3))
    disk.job(Phase.STAGING_IN, input_gb=4, grant=False)
    assert not disk.ahead.may_fetch(disk.job(Phase.ACQUIRED, input_gb=3))


def test_a_running_job_keeps_the_disk_that_it_was_promised(place: Any) -> None:
    disk = place(13)
    disk.job(Phase.RUNNING, disk_gb=8, grant=True)
    assert not disk.ahead.may_fetch(disk.job(Phase.ACQUIRED, input_gb=2))
    assert disk.ahead.may_fetch(disk.job(Phase.ACQUIRED, input_gb=1))


def test_what_a_job_has_on_disk_already_is_not_counted_twice(place: Any) -> None:
    disk = place(12)
    run = disk.job(Phase.RUNNING, disk_gb=8, grant=True)
    with (run.directory / "big").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, 1 << 20)
    before = disk.ahead._spare()
    (run.directory / "big").unlink()
    assert before == disk.ahead._spare() + (1 << 20)


def test_nothing_is_fetched_ahead_on_a_disk_without_room_to_spare(place: Any) -> None:
    assert place(1.9).ahead.left() == 0


def test_jobs_that_nothing_is_done_for_do_not_count_as_fetched(place: Any) -> None:
    """An earlier pilot had begun with them; this one has not."""
    disk = place(100, prefetch=1)
    waiting = disk.job(Phase.STAGING_IN, input_gb=1)
    disk.waiting.append(waiting)
    assert disk.ahead.left() == 1 and disk.ahead.may_fetch(waiting)
    disk.waiting.clear()
    assert disk.ahead.left() == 0


def test_those_with_all_inputs_get_room_before_those_without(place: Any) -> None:
    disk = place(100)
    coming, here, running = disk.job(Phase.STAGING_IN), disk.job(Phase.RUNNING), disk.job(Phase.RUNNING, grant=True)
    here.parked = True
    assert disk.ahead.without_room() == [here, coming] and running not in disk.ahead.without_room()


def test_a_job_for_later_is_asked_for_as_large_as_one_that_runs_now(place: Any) -> None:
    """With nothing free the server would otherwise be told of no limit at all, and give what can never run here."""
    slots = Packed(Node(4, memory_mb=8000, disk_mb=40_000))
    disk = place(100, slots=slots)
    run = disk.job(Phase.RUNNING, grant=True)
    run.grant = Grant(run.key, 4, memory_mb=8000, disk_mb=30_000)
    from pilot.runtime.slots import Needs

    slots.take(run.key, Needs(cores=4, memory_mb=8000, disk_mb=30_000))
    asked = disk.ahead.capacity(1, 1000)
    assert (asked.jobs, asked.cores, asked.memory_mb, asked.disk_mb, asked.seconds_left) == (1, 4, 8000, 30_000, 1000)


def test_free_room_is_shared_by_the_jobs_that_would_run_in_it_alone(place: Any) -> None:
    disk = place(100, slots=EqualSlots(Node(4, memory_mb=8000, disk_mb=40_000), 2))
    asked = disk.ahead.capacity(5, 1000)
    assert (asked.jobs, asked.cores, asked.memory_mb, asked.disk_mb) == (5, 4, 4000, 20_000)


def test_what_is_given_up_is_what_came_last_and_never_what_an_earlier_payload_was_given(place: Any) -> None:
    disk = place(1.4)
    first, last, running = disk.job(Phase.STAGING_IN), disk.job(Phase.STAGING_IN), disk.job(Phase.RUNNING, grant=True)
    assert disk.ahead.is_short() and disk.ahead.to_give_up() is last
    last.put_back = True
    assert disk.ahead.to_give_up() is first and not disk.ahead.may_fetch(last)
    first.facts = Facts(acquired=0.0, runs=1)
    assert disk.ahead.to_give_up() is None and running.grant
