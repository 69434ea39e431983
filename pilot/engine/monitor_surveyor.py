"""Work on disks, in a thread of its own: a dead NFS server or a hung FUSE daemon may let it wait for ever."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
#: How long somebody who waits for his work lets another's work hold it up.
_HELD_UP_S = 0.25


class _Task:
    """One piece of work; `began` is 0 while it waits."""

    __slots__ = ("began", "done", "key", "late", "work")

    def __init__(self, key: str, work: Callable[[], None]) -> None:
        self.key = key
        self.work = work
        self.done = threading.Event()
        self.began = 0.0
        self.late = False


class Surveyor:
    """Does one piece of work after another in a thread named `disk-N`.

    Work that takes longer than `patience_s` keeps its thread to itself, and all other work goes on in a new one. Its
    key is not served again until it has come back. `silent(key)` is called when work is late, from the thread that
    finds out. All methods may be called from any thread; none but `settle` waits.
    """

    def __init__(self, silent: Callable[[str], None], patience_s: float = 10.0) -> None:
        self._silent = silent
        self._patience_s = patience_s
        self._change = threading.Condition()
        self._queue: deque[_Task] = deque()
        self._under_way: dict[str, _Task] = {}
        self._hand = 0
        self._current: _Task | None = None
        self._thread: threading.Thread | None = None
        self._closed = False

    def ask(self, key: str, work: Callable[[], None]) -> None:
        """Have this done soon, unless work for the same key still waits or is under way."""
        with self._change:
            if key not in self._under_way and not self._closed:
                self._add(_Task(key, work), front=False)
        self._look_after()

    def settle(self, key: str, work: Callable[[], None], patience_s: float) -> bool:
        """Have this done next, in place of work for the same key that has not begun, and wait for it.

        False if it was not done in that time; what has not begun by then is not begun any more. After `close` the
        caller does it himself.
        """
        end = time.monotonic() + patience_s
        task = _Task(key, work)
        with self._change:
            before = self._under_way.get(key)
            if before in self._queue and before is not None:
                self._queue.remove(before)
                before = None
        if before is not None and not before.done.wait(patience_s):
            return False
        with self._change:
            closed = self._closed
            if not closed:
                self._add(task, front=True)
        if closed:
            work()
            return True
        while not task.done.wait(min(_HELD_UP_S, max(0.0, end - time.monotonic()))):
            with self._change:
                if time.monotonic() >= end:
                    if task in self._queue:
                        self._queue.remove(task)
                        self._under_way.pop(key, None)
                    return False
                if not task.began:
                    self._relieve()
        return True

    def answer(self, key: str, work: Callable[[], T], patience_s: float) -> list[T]:
        """What the work found, alone in a list; an empty one if it was not done in that time. Raises what it raises."""
        found: list[T] = []
        wrong: list[Exception] = []

        def look() -> None:
            try:
                found.append(work())
            except Exception as error:  # noqa: BLE001 - the top of a thread: whatever went wrong belongs to the one who asked
                wrong.append(error)

        if not self.settle(key, look, patience_s):
            return []
        if wrong:
            raise wrong[0]
        return found

    def close(self) -> None:
        """Take no more work; a thread whose work does not come back is left behind."""
        with self._change:
            self._closed = True
            self._queue.clear()
            self._change.notify_all()
            thread, busy = self._thread, self._current is not None
        if thread is not None:
            thread.join(0.1 if busy else None)

    def _add(self, task: _Task, front: bool) -> None:
        self._under_way[task.key] = task
        if front:
            self._queue.appendleft(task)
        else:
            self._queue.append(task)
        if self._thread is None:
            self._relieve()
        self._change.notify_all()

    def _relieve(self) -> None:
        """Have a new thread take over; the old one ends when its work comes back."""
        self._hand += 1
        self._current = None
        self._thread = threading.Thread(target=self._serve, args=(self._hand,), name=f"disk-{self._hand}", daemon=True)
        self._thread.start()

    def _look_after(self) -> None:
        """Leave a thread alone whose work takes too long."""
        with self._change:
            now = time.monotonic()
            late = [t for t in self._under_way.values() if t.began and not t.late and now - t.began > self._patience_s]
            for task in late:
                task.late = True
                if task is self._current:
                    self._relieve()
        for task in late:
            self._silent(task.key)

    def _serve(self, hand: int) -> None:
        while True:
            with self._change:
                while not self._queue and not self._closed and hand == self._hand:
                    self._change.wait()
                if self._closed or hand != self._hand:
                    return
                task = self._current = self._queue.popleft()
                task.began = time.monotonic()
            try:
                task.work()
            finally:
                with self._change:
                    if self._under_way.get(task.key) is task:
                        del self._under_way[task.key]
                    if self._current is task:
                        self._current = None
                task.done.set()
