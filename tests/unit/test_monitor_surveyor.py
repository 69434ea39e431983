"""Work on disks: in order, once for each key, and no work held up for good by another's."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from pilot.engine.monitor_surveyor import Surveyor

PATIENCE_S = 30.0


class Stuck:
    """Work that does not come back before it is told."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.free = threading.Event()
        self.thread = ""

    def __call__(self) -> None:
        self.thread = threading.current_thread().name
        self.begun.set()
        self.free.wait(PATIENCE_S)


@pytest.fixture
def silent() -> list[str]:
    return []


@pytest.fixture
def surveyor(silent: list[str]) -> Iterator[Surveyor]:
    made = Surveyor(silent.append, patience_s=0.0)
    yield made
    made.close()


@pytest.fixture
def stuck(surveyor: Surveyor) -> Iterator[Stuck]:
    work = Stuck()
    surveyor.ask("stuck", work)
    assert work.begun.wait(PATIENCE_S)
    yield work
    work.free.set()


def test_late_work_is_told_once_and_other_work_is_done_in_another_thread(
    surveyor: Surveyor, silent: list[str], stuck: Stuck
) -> None:
    done = Stuck()
    done.free.set()
    surveyor.ask("other", done)
    assert done.begun.wait(PATIENCE_S)
    surveyor.ask("third", lambda: None)
    assert silent == ["stuck"]
    assert done.thread.startswith("disk-") and done.thread != stuck.thread


def test_a_key_whose_work_is_stuck_is_served_again_when_it_has_come_back(surveyor: Surveyor, stuck: Stuck) -> None:
    again: list[str] = []
    surveyor.ask("stuck", lambda: again.append("too early"))
    assert not surveyor.settle("stuck", lambda: again.append("too early"), 0.05)
    stuck.free.set()
    assert surveyor.settle("stuck", lambda: again.append("now"), PATIENCE_S)
    assert again == ["now"]


def test_who_waits_for_his_work_is_not_held_up_by_anothers(surveyor: Surveyor, stuck: Stuck) -> None:
    done: list[str] = []
    assert surveyor.settle("mine", lambda: done.append("mine"), PATIENCE_S)
    assert done == ["mine"] and not stuck.free.is_set()


def test_what_is_settled_takes_the_place_of_what_waits_for_the_same_key(silent: list[str]) -> None:
    surveyor = Surveyor(silent.append, patience_s=PATIENCE_S)
    work, done = Stuck(), []
    surveyor.ask("first", work)
    assert work.begun.wait(PATIENCE_S)
    surveyor.ask("second", lambda: done.append("waiting"))
    assert surveyor.settle("second", lambda: done.append("settled"), PATIENCE_S)
    work.free.set()
    surveyor.close()
    assert done == ["settled"] and silent == []


def test_after_the_end_work_is_done_by_who_waits_for_it(surveyor: Surveyor) -> None:
    surveyor.close()
    done: list[str] = []
    surveyor.ask("mine", lambda: done.append("asked"))
    assert surveyor.settle("mine", lambda: done.append(threading.current_thread().name), 0.0)
    assert done == [threading.current_thread().name]
