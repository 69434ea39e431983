"""Work in jobs' directories that a dead disk may hold up, with locks in the place of dead disks."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pilot.core.errors import PayloadExecutionException
from pilot.engine import ending
from pilot.engine.jobdisk import JobDisk
from pilot.lib.log import JobLog
from pilot.lib.loop import Loop
from pilot.lib.redact import Redactor
from pilot.lib.stillness import Stillness
from pilot.lib.worker import Crew
from tests.bench import patience


@pytest.fixture
def dead() -> Iterator[threading.Event]:
    """Whoever waits for it hangs until the test ends."""
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def disk() -> Iterator[JobDisk]:
    made = JobDisk(patience_s=0.3)
    yield made
    made.close()


def test_a_job_whose_directory_hangs_is_not_asked_again_until_it_is_back(disk: JobDisk, dead: threading.Event) -> None:
    asked: list[int] = []
    assert disk.do("1.1", lambda: asked.append(1) or dead.wait(60), "silence") == "silence"
    assert disk.do("1.1", lambda: asked.append(2) or True, "silence") == "silence"
    with pytest.raises(PayloadExecutionException, match="does not answer"):
        disk.need("1.1", lambda: asked.append(3), 60.0)
    assert asked == [1] and disk.is_silent("1.1")
    assert disk.do("2.1", lambda: "here", "silence") == "here", "others are served"
    dead.set()
    assert patience(lambda: not disk.is_silent("1.1"), 30)
    assert disk.need("1.1", lambda: "back", 30.0) == "back"


def test_what_goes_wrong_on_a_disk_is_told_to_the_one_who_asked(disk: JobDisk, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        disk.do("1.1", lambda: (tmp_path / "none").read_text(), "")
    assert disk.answers("1.1", lambda: (tmp_path / "none").read_text()), "an error is an answer"


def test_lines_that_wait_for_a_disk_are_written_in_their_order_when_it_is_back(
    disk: JobDisk, dead: threading.Event, tmp_path: Path
) -> None:
    log = JobLog("1.1", tmp_path, Redactor(), lambda write: disk.wrote("1.1", write))
    log.info("one")
    assert not disk.answers("1.1", lambda: dead.wait(60))
    log.info("two")
    log.info("three")
    assert (tmp_path / "pilot.log").read_text().split()[-1] == "one"
    dead.set()
    assert patience(lambda: not disk.is_silent("1.1"), 30)
    log.info("four")
    log.close()
    assert [line.split()[-1] for line in (tmp_path / "pilot.log").read_text().splitlines()] == [
        "one", "two", "three", "four"
    ]  # fmt: skip


class _Still(Stillness):
    """Finds every thread without motion."""

    def found(self, threads: object) -> list[int]:
        return sorted(threads)  # type: ignore[call-overload, no-any-return]


def test_a_thread_that_hangs_in_the_kernel_gets_a_substitute(
    dead: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pilot.lib.worker.Stillness", _Still)
    worker = Crew("test", {"work": 1}, still_s=0.2)
    done: list[str] = []
    worker.submit("work", lambda: dead.wait(60), lambda result, error: done.append("first"))
    worker.submit("work", lambda: None, lambda result, error: done.append("second"))
    assert patience(lambda: done == ["second"], 30)
    dead.set()
    assert patience(lambda: done == ["second", "first"], 30)
    monkeypatch.setattr("pilot.lib.worker.Stillness", Stillness)
    under_way: list[int] = []
    for _ in range(20):  # the two threads that there are now do one piece at a time again
        worker.submit("work", lambda: under_way.append(worker._busy["work"]), lambda result, error: None)
    assert patience(lambda: len(under_way) == 20, 30) and set(under_way) == {1}
    worker.close(30)
    names = ("test-", "watch-test")
    assert patience(lambda: not any(thread.name.startswith(names) for thread in threading.enumerate()), 30)


def test_a_thread_that_waits_for_another_or_computes_does_not_hang(dead: threading.Event) -> None:
    thread = threading.Thread(target=lambda: dead.wait(60))
    thread.start()
    assert thread.native_id is not None
    stillness = Stillness(0.0)
    assert stillness.found([thread.native_id, threading.get_native_id()]) == []
    assert stillness.found([2**22 + 1]) == [], "gone"
    dead.set()
    thread.join()


@pytest.mark.parametrize("answers", [True, False])
def test_a_clean_up_in_a_directory_that_hangs_is_not_waited_for(
    disk: JobDisk, dead: threading.Event, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answers: bool
) -> None:
    """One that answers is waited for however long the clean-up takes."""
    monkeypatch.setattr(ending, "_LOOK_S", 0.1)
    monkeypatch.setattr(ending, "clean_up", lambda *of: dead.wait(60))
    monkeypatch.setattr(ending, "os", SimpleNamespace(listdir=lambda path: answers or dead.wait(60)))
    loop, staging, ends = Loop(), Crew("staging", {"chores": 1}), []
    run: Any = SimpleNamespace(key="1.1", directory=tmp_path)
    means: Any = SimpleNamespace(loop=loop, staging=staging, disk=disk)

    def then() -> None:
        ends.append(dead.is_set())
        loop.stop()

    if answers:
        loop.after(1.0, dead.set)
    ending.clean_up_aside(means, None, run, then)  # type: ignore[arg-type]
    loop.run()
    assert ends == [answers], "it went on before its disk was back, or only when all was cleaned up"
    dead.set()
    staging.close(30)
    loop.close()
