"""Named threads that take work from one queue, in order, and hand back what came of it."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any

from pilot.core.errors import PilotError, UnknownException

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
            work, done = item
            try:
                result, error = work(), None
            except PilotError as known:
                result, error = None, known
            except Exception as unknown:  # noqa: BLE001 - the top of a thread: whatever went wrong belongs to the one who asked
                result, error = None, UnknownException(f"{type(unknown).__name__}: {unknown}")
                error.__cause__ = unknown
            done(result, error)
