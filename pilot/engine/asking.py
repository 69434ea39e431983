"""Asking the source for jobs: one request at a time, in a thread of its own, with rests that grow while it fails."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from typing import Any

from pilot.core.errors import PilotError, UnknownException
from pilot.core.exitcodes import ExitCode, exit_code_of
from pilot.engine.means import Means
from pilot.lib.loop import Timer
from pilot.lib.worker import Worker
from pilot.plugins.sources.base import Acquired, Capacity

_log = logging.getLogger("pilot.asking")
_FIRST_WAIT_S = 1.0


class Asking:
    """Lives in the loop's thread. `on_answer` gets the descriptions that came (none, too), `on_rested` nothing.

    `finished` is set when no more jobs will be asked for, and `exit_code` when that is nothing to be content with.
    """

    def __init__(
        self,
        means: Means,
        is_busy: Callable[[], bool],
        on_answer: Callable[[tuple[dict[str, Any], ...]], None],
        on_rested: Callable[[], None],
    ) -> None:
        self._means, self._is_busy, self._on_answer, self._on_rested = means, is_busy, on_answer, on_rested
        self._worker = Worker("acquire")
        self._pause: Timer | None = None
        self._empty = self._failed = 0
        self.under_way = False
        self.finished = False
        self.exit_code = 0

    @property
    def may_ask(self) -> bool:
        """Whether a request could be made now."""
        return not (self.under_way or self.finished or self._pause is not None)

    def ask(self, capacity: Capacity) -> None:
        """Ask for jobs that fit."""
        _log.debug("asks for jobs: %s", capacity)
        self.do(lambda: self._means.source.acquire(capacity), self._answered)

    def do(self, work: Callable[[], Any], then: Callable[[Any, PilotError | None], None]) -> None:
        """Have something done in this thread; nothing is asked for until `then` has been called in the loop."""
        self.under_way = True

        def over(result: Any, error: PilotError | None) -> None:
            self.under_way = False
            if isinstance(error, UnknownException):
                raise error  # no fault of the server's: the pilot ends as it does for one in the loop itself
            then(result, error)

        self._worker.submit(work, lambda result, error: self._means.loop.post(lambda: over(result, error)))

    def finish(self, exit_code: int = 0) -> None:
        """Ask for no more jobs."""
        self.finished = True
        self.exit_code = self.exit_code or exit_code
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None

    def close(self) -> None:
        """Let the thread end with what it is doing."""
        self._worker.close()

    def _answered(self, acquired: Acquired | None, error: PilotError | None) -> None:
        if acquired is None:
            self._refused(error)
            self._on_answer(())
            return
        self._failed = 0
        self._means.resource_types |= acquired.resource_types
        if not acquired.pending:  # while a request stands, no answer is not yet an empty one
            self._empty = 0 if acquired.jobs else self._empty + 1
        requests = self._means.settings.getjob_requests
        if acquired.finished:
            self.finish(exit_code_of(acquired.error))
        elif requests and self._empty >= requests:
            _log.info("no job came in %d requests", self._empty)
            self.finish()
        elif not acquired.jobs and not acquired.pending:
            self._rest(acquired.wait_s or self._means.settings.wait)
        self._on_answer(acquired.jobs)

    def _refused(self, error: PilotError | None) -> None:
        self._failed += 1
        _log.warning("no job was acquired (try %d): %s", self._failed, error)
        hopeless = error is not None and not error.retry
        limit = 0 if self._is_busy() else self._means.settings.getjob_failures  # who has work waits for a server longer
        if hopeless or 0 < limit <= self._failed:
            self.finish(ExitCode.SERVER_COMMUNICATION)
        else:
            self._rest(min(self._means.settings.wait, _FIRST_WAIT_S * 2 ** min(self._failed - 1, 10)))

    def _rest(self, seconds: float) -> None:
        def over() -> None:
            self._pause = None
            self._on_rested()

        self._pause = self._means.loop.after(seconds * random.uniform(0.8, 1.0), over)
