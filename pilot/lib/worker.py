"""Named threads that take work from one queue, in order, and hand back what came of it."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pilot.core.errors import PilotError, UnknownException
from pilot.lib.stillness import Stillness

_log = logging.getLogger("pilot.disk")
Done = Callable[[Any, PilotError | None], None]


class Worker:
    """One queue served by `threads` daemon threads called `name-0`, `name-1`, ...

    `done(result, None)` or `done(None, error)` is called in the worker's thread: it is expected to post to a loop.
    """

    def __init__(self, name: str, threads: int = 1) -> None:
        self._queue: queue.SimpleQueue[tuple[Callable[[], Any], Done] | None] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=self._serve, name=f"{name}-{n}", daemon=True) for n in range(max(1, threads))
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, work: Callable[[], Any], done: Done) -> None:
        """Have `work` done by the next free thread."""
        self._queue.put((work, done))

    def close(self, seconds: float = 0.0) -> None:
        """Take no more work; wait up to `seconds` for what is being done."""
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join(seconds)

    def _serve(self) -> None:
        while (item := self._queue.get()) is not None:
            _carry_out(*item)


class Crew:
    """Daemon threads called `name-0`, `name-1`, ... for work of several kinds; `most` is how many do one kind at once.

    So work of one kind that does not get on holds up none of another. A thread is started when none is free, and kept.
    `done` is called as a `Worker` does. Any thread may submit. While work waits, a thread that has been without any
    motion in the kernel for `still_s` s (a disk or server that does not answer) does not count any more.
    """

    def __init__(self, name: str, most: Mapping[str, int], still_s: float = 60.0) -> None:
        self._name, self._still_s = name, still_s
        self._most = {kind: max(1, number) for kind, number in most.items()}
        self._waiting: dict[str, deque[tuple[Callable[[], Any], Done]]] = {kind: deque() for kind in most}
        self._busy = dict.fromkeys(most, 0)
        self._idle = 0
        self._closed = False
        self._changed = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._at: dict[int, str] = {}
        self._still: set[int] = set()
        self._watcher: threading.Thread | None = None
        self._over = threading.Event()

    def submit(self, kind: str, work: Callable[[], Any], done: Done) -> None:
        """Have `work` done as soon as a thread may do work of its kind; in order among its kind."""
        with self._changed:
            self._waiting[kind].append((work, done))
            self._reinforce()
            if len(self._waiting[kind]) + self._busy[kind] > self._most[kind] and self._watcher is None:
                self._watcher = threading.Thread(target=self._watch, name=f"watch-{self._name}", daemon=True)
                self._watcher.start()

    def close(self, seconds: float = 0.0) -> None:
        """Take no more work; wait up to `seconds` in all for what is being done."""
        end = time.monotonic() + seconds
        self._over.set()
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            watcher = [self._watcher] if self._watcher is not None else []
        for thread in (*self._threads, *watcher):
            thread.join(max(0.0, end - time.monotonic()))

    def _reinforce(self) -> None:
        """Have a thread for what can be begun now."""
        if self._startable() > self._idle:
            self._idle += 1
            name = f"{self._name}-{len(self._threads)}"
            self._threads.append(threading.Thread(target=self._serve, name=name, daemon=True))
            self._threads[-1].start()
        self._changed.notify()

    def _watch(self) -> None:
        """Look at the busy threads as long as work waits for one."""
        stillness = Stillness(self._still_s)
        while not self._over.wait(self._still_s / 4):
            with self._changed:
                if not any(self._waiting.values()):
                    self._watcher = None
                    return
                for thread in stillness.found(self._at.keys() - self._still):
                    _log.error("a thread of %s hangs in the kernel: another takes its place", self._name)
                    self._still.add(thread)
                    self._busy[self._at[thread]] -= 1
                    self._reinforce()

    def _startable(self) -> int:
        return sum(min(len(self._waiting[kind]), most - self._busy[kind]) for kind, most in self._most.items())

    def _next(self) -> str | None:
        return next(
            (kind for kind in self._waiting if self._waiting[kind] and self._busy[kind] < self._most[kind]), None
        )

    def _serve(self) -> None:
        me = threading.get_native_id()
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._next() is not None)
                kind = self._next()
                if self._closed or kind is None:
                    return
                self._idle -= 1
                self._busy[kind] += 1
                self._at[me] = kind
                work, done = self._waiting[kind].popleft()
            _carry_out(work, done)
            with self._changed:
                self._idle += 1
                del self._at[me]
                if me in self._still:
                    self._still.remove(me)
                else:
                    self._busy[kind] -= 1


def _carry_out(work: Callable[[], Any], done: Done) -> None:
    try:
        result, error = work(), None
    except PilotError as known:
        result, error = None, known
    except Exception as unknown:  # noqa: BLE001 - the top of a thread: whatever went wrong belongs to the one who asked
        result, error = None, UnknownException(f"{type(unknown).__name__}: {unknown}")
        error.__cause__ = unknown
    done(result, error)


def all_at_once(
    name: str, works: Sequence[Callable[[], None]], threads: int, limit_s: float
) -> list[PilotError | None]:
    """Have all of these done side by side, by threads that end with them; what went wrong with each, in their order.

    Work that has not ended within `limit_s` is left to itself and counts as gone wrong.
    """
    wrong: list[PilotError | None] = [UnknownException(f"no answer within {limit_s:g} s") for _ in works]
    left = len(works)
    over = threading.Event()
    lock = threading.Lock()

    def done(at: int, error: PilotError | None) -> None:
        nonlocal left
        with lock:
            wrong[at] = error
            left -= 1
            if not left:
                over.set()

    if works:
        worker = Worker(name, min(threads, len(works)))
        for at, work in enumerate(works):
            worker.submit(work, lambda _, error, at=at: done(at, error))  # type: ignore[misc]
        over.wait(limit_s)
        worker.close(0.0)
    with lock:
        return list(wrong)
