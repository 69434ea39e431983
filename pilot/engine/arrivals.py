"""Descriptions of jobs as they come from a source: each becomes a job of this pilot, or is refused with the reason."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

from pilot.core.errors import Failure, NoLocalSpace, PilotError, ReachedMaxTime, ResourceUnavailable
from pilot.core.exitcodes import ExitCode
from pilot.core.job import JobDefinition
from pilot.engine import concealed, form
from pilot.engine.horizon import Horizon
from pilot.engine.means import Means
from pilot.engine.runner import Runner
from pilot.engine.waiting import Waiting
from pilot.runtime.slots import needs_of

_log = logging.getLogger("pilot.agent")
_DISK_WAIT_S = 1.0


class Arrivals:
    """Lives in the loop's thread. What may run waits for its turn in `waiting`, the rest is only reported.

    `taken` counts the jobs that this pilot has owned, `held` the descriptions that wait for room on a full disk;
    `on_room` is called when one of those has come in. `exit_code` is set for descriptions that are nobody's job.
    """

    def __init__(
        self, means: Means, runner: Runner, horizon: Horizon, waiting: Waiting, on_room: Callable[[], None]
    ) -> None:
        self._means, self._runner, self._horizon, self._waiting = means, runner, horizon, waiting
        self._on_room = on_room
        self.taken = self.held = 0
        self.exit_code = 0

    def take_in(self, raw: dict[str, Any], told_s: int, asked: float) -> None:
        """Own the job of a description that came for a request made at `asked` (epoch s) with `told_s` s left."""
        now = time.time()
        secrets = concealed.learn(raw, self._means.redactor)
        definition, slips = form.read(raw)
        if definition.job_id <= 0:
            _log.error("a job description without a usable PandaID was refused: %s", slips[0].error if slips else "0")
            self.exit_code = self.exit_code or ExitCode.GENERAL
            return
        bad = _first([slip.error for slip in slips]) or self._refusal(definition, told_s)
        definition, hidden = concealed.conceal(definition, secrets, self._means.redactor)
        try:
            run = self._runner.take_in(definition, now, now - asked, bad, hidden)
        except NoLocalSpace as full:
            _log.error("job %s: %s: waiting for room", definition.key, full)
            self.held += 1
            self._means.loop.after(_DISK_WAIT_S, lambda: self._take_in_again(raw, told_s, asked))
            return
        if run is None:
            _log.info("job %s was offered again: it is known here already", definition.key)
            return
        self.taken += 1
        if bad is None:
            self._waiting.add(run)

    def _take_in_again(self, raw: dict[str, Any], told_s: int, asked: float) -> None:
        self.held -= 1
        self.take_in(raw, told_s, asked)
        self._on_room()

    def _refusal(self, definition: JobDefinition, told_s: int) -> Failure | None:
        """Why a job cannot run here, although its description is good."""
        if refusal := self._means.slots.refusal(needs_of(definition)):
            return ResourceUnavailable(refusal).failure()
        try:
            late = self._horizon.too_long(definition, told_s)
        except PilotError as error:  # what the job would have of its queue cannot be read
            return error.failure()
        return ReachedMaxTime(late).failure() if late else None


def _first(errors: Sequence[PilotError]) -> Failure | None:
    """The first error as that of the job, the others beside it."""
    if not errors:
        return None
    return reduce(Failure.with_cause, (error.failure() for error in errors[1:]), errors[0].failure())
