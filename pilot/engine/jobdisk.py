"""What the loop's thread reads and writes in jobs' directories: done for it by a thread that a dead disk may keep."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from typing import TypeVar

from pilot.core.errors import PayloadExecutionException
from pilot.engine.monitor_surveyor import Surveyor

_log = logging.getLogger("pilot.disk")
T = TypeVar("T")
#: A disk under heavy load takes that long; lines of a log that were not written in time are written later.
_PATIENCE_S = 5.0


class JobDisk:
    """Any thread may call. A job whose directory does not answer costs the patience once; until the work that it holds
    up comes back, everything asked of its directory is at once as if it had not answered. Other jobs are served."""

    def __init__(self, patience_s: float = _PATIENCE_S) -> None:
        self._patience_s = patience_s
        self._surveyor = Surveyor(lambda key: None, patience_s)
        self._silent: set[str] = set()

    def do(self, key: str, work: Callable[[], T], otherwise: T, patience_s: float | None = None) -> T:
        """What the work finds; `otherwise` if the directory does not answer. Raises what the work raises."""
        if key in self._silent:
            return otherwise
        begun, over = [False], [False]

        def task() -> T:
            begun[0] = True
            try:
                return work()
            finally:
                over[0] = True
                self._silent.discard(key)

        for found in self._surveyor.answer(key, task, self._patience_s if patience_s is None else patience_s):
            return found
        if begun[0]:
            self._fall_silent(key)
            if over[0]:  # it came back just now
                self._silent.discard(key)
        return otherwise

    def is_silent(self, key: str) -> bool:
        """Whether the directory is known not to answer."""
        return key in self._silent

    def wrote(self, key: str, write: Callable[[], object]) -> bool:
        """Write something; whether it is written."""

        def work() -> bool:
            write()
            return True

        return self.do(key, work, False)

    def need(self, key: str, work: Callable[[], T], patience_s: float) -> T:
        """What the work finds. Raises `PayloadExecutionException` if the directory does not answer."""
        found: list[T] = []
        if not self.do(key, lambda: found.append(work()) or True, False, patience_s):  # type: ignore[func-returns-value]
            raise PayloadExecutionException("the job's directory does not answer: its file system hangs")
        return found[0]

    def answers(self, key: str, work: Callable[[], object]) -> bool:
        """Whether the directory answers; an error is an answer, too."""

        def look() -> None:
            with contextlib.suppress(OSError):
                work()

        return self.wrote(key, look)

    def close(self) -> None:
        """Do no more; what does not come back is left behind."""
        self._surveyor.close()

    def _fall_silent(self, key: str) -> None:
        if key not in self._silent:
            self._silent.add(key)
            _log.error("job %s: its directory does not answer: what is to be written there waits until it does", key)
