"""The loop that everything waits in, and the threads that work for it."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator

import pytest

from pilot.core.errors import NoLocalSpace, PilotError, UnknownException
from pilot.lib.loop import Loop
from pilot.lib.worker import Crew, Worker


@pytest.fixture
def loop() -> Iterator[Loop]:
    made = Loop()
    made.after(10.0, lambda: pytest.fail("the loop did not end"))
    yield made
    made.close()


def test_what_other_threads_post_runs_in_order_in_the_thread_of_the_loop(loop: Loop) -> None:
    seen: list[tuple[int, int]] = []

    def post() -> None:
        for number in range(100):
            loop.post(lambda number=number: seen.append((number, threading.get_ident())))  # type: ignore[misc]
        loop.post(loop.stop)

    threading.Thread(target=post).start()
    loop.run()
    assert seen == [(number, threading.get_ident()) for number in range(100)]


def test_timers_run_in_the_order_of_their_times_and_cancelled_ones_do_not(loop: Loop) -> None:
    seen: list[str] = []
    loop.after(0.03, lambda: (seen.append("late"), loop.stop()))  # type: ignore[func-returns-value]
    loop.after(0.01, lambda: seen.append("early"))
    gone = loop.after(0.02, lambda: seen.append("cancelled"))
    gone.cancel()
    gone.cancel()
    loop.run()
    assert seen == ["early", "late"]


def test_a_timer_may_set_the_next_one_and_cancel_itself(loop: Loop) -> None:
    count = 0

    def again() -> None:
        nonlocal count
        count += 1
        timer.cancel()
        if count < 3:
            loop.after(0.0, again)
        else:
            loop.stop()

    timer = loop.after(0.0, again)
    loop.run()
    assert count == 3


def test_a_stop_that_comes_before_the_start_is_not_forgotten(loop: Loop) -> None:
    loop.stop()
    loop.run()


def test_a_descriptor_that_was_forgotten_in_this_very_round_is_not_called(loop: Loop) -> None:
    pipes = [os.pipe(), os.pipe()]
    seen: list[int] = []

    def heard(number: int) -> Callable[[], None]:
        def call() -> None:
            seen.append(number)
            for read, _ in pipes:
                loop.unwatch(read)
            loop.post(loop.stop)

        return call

    for number, (read, write) in enumerate(pipes):
        loop.watch(read, heard(number))
        os.write(write, b"x")
    loop.run()
    assert len(seen) == 1
    loop.unwatch(pipes[0][0])
    for pair in pipes:
        for fd in pair:
            os.close(fd)


def test_signals_arrive_as_calls(loop: Loop) -> None:
    before = signal.getsignal(signal.SIGUSR1)
    seen: list[int] = []
    loop.signals([signal.SIGUSR1], lambda number: (seen.append(number), loop.stop()))  # type: ignore[func-returns-value]
    try:
        os.kill(os.getpid(), signal.SIGUSR1)
        loop.run()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert seen == [signal.SIGUSR1]


def test_posting_to_a_closed_loop_does_no_harm(loop: Loop) -> None:
    loop.close()
    loop.close()
    other, other_end = os.pipe()  # takes the descriptor that the loop had
    loop.post(lambda: None)
    os.set_blocking(other, False)
    with pytest.raises(BlockingIOError):
        os.read(other, 1)
    os.close(other)
    os.close(other_end)


def test_a_worker_does_its_work_in_order_in_threads_that_are_named() -> None:
    worker = Worker("testing", 1)
    seen: list[object] = []
    over = threading.Event()
    for number in range(20):
        worker.submit(lambda number=number: number, lambda result, error: seen.append(result))  # type: ignore[misc]
    worker.submit(lambda: threading.current_thread().name, lambda result, error: (seen.append(result), over.set()))  # type: ignore[func-returns-value]
    assert over.wait(5)
    worker.close(5)
    assert seen == [*range(20), "testing-0"]


def test_whatever_work_raises_comes_back_as_a_pilot_error_and_the_thread_goes_on() -> None:
    worker = Worker("testing", 1)
    seen: list[PilotError | None] = []
    over = threading.Event()

    def fail(error: Exception) -> Callable[[], None]:
        def work() -> None:
            raise error

        return work

    worker.submit(fail(NoLocalSpace("here")), lambda result, error: seen.append(error))
    worker.submit(fail(KeyError("what")), lambda result, error: seen.append(error))
    worker.submit(lambda: None, lambda result, error: (seen.append(error), over.set()))  # type: ignore[func-returns-value]
    assert over.wait(5)
    worker.close(5)
    assert isinstance(seen[0], NoLocalSpace)
    assert isinstance(seen[1], UnknownException) and "KeyError" in str(seen[1])
    assert seen[2] is None


def test_a_crew_does_other_work_while_all_of_one_kind_is_stuck_and_starts_no_more_threads_than_it_needs() -> None:
    crew = Crew("crew", {"stuck": 2, "quick": 2})
    go, begun, done = threading.Event(), threading.Semaphore(0), threading.Semaphore(0)

    def stick() -> None:
        begun.release()
        go.wait(30)

    for _ in range(3):
        crew.submit("stuck", stick, lambda *_: done.release())
    assert begun.acquire(timeout=30) and begun.acquire(timeout=30)
    for _ in range(5):
        crew.submit("quick", lambda: None, lambda *_: done.release())
        assert done.acquire(timeout=30)
    names = {thread.name for thread in threading.enumerate() if thread.name.startswith("crew-")}
    assert 3 <= len(names) <= 4 and not begun.acquire(blocking=False), "two of the three are at work"
    go.set()
    assert all(done.acquire(timeout=30) for _ in range(3))
    crew.close(30.0)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("crew-")]
