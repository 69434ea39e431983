"""Until when this pilot may go on: its lifetime, the end of its batch job, and when no job is to be begun any more."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable

from pilot.core.errors import PilotError
from pilot.core.job import JobDefinition
from pilot.engine.means import CHORES, Means
from pilot.lib.loop import Timer

_log = logging.getLogger("pilot.time")
#: The margin before the batch job's end is at most this part of what was left when it got known.
_MARGIN_PART = 4


class Horizon:
    """Lives in the loop's thread. `on_end` hears, once, why the time is over.

    Where the batch system has to be asked for the end of its job, `known` is False until it has answered and
    `on_known` has been called: a pilot that does not know its end must not ask for a job.
    """

    def __init__(self, means: Means, on_known: Callable[[], None], on_end: Callable[[str], None]) -> None:
        self._means, self._on_known, self._on_end = means, on_known, on_end
        self._began = time.monotonic()
        self._end_at = math.inf
        self._timer: Timer | None = None
        self._batch_ends = False
        self.known = True

    def begin(self) -> None:
        """Set the clock of this pilot's life, and look for the end of its batch job."""
        here, lifetime = self._means.here, self._means.settings.lifetime
        self._ends_in(lifetime, f"the pilot's lifetime of {lifetime} s is over")
        if here.ends_at is not None:
            self._batch_ends_in(here.ends_at - time.time())
        elif here.ask_time_left is not None:
            self.known = False
            post = self._means.loop.post
            self._means.staging.submit(
                CHORES, here.ask_time_left, lambda left, error: post(lambda: self._told(left, error))
            )

    def seconds_left(self) -> int:
        """The seconds until running jobs are stopped."""
        return max(0, int(self._end_at - time.monotonic()))

    def too_late(self, taken: int) -> str:
        """Why no further job is to be asked for, after `taken` ones; empty as long as there is time."""
        settings, floor_s = self._means.settings, self._means.time_floor_s
        left = self.seconds_left()
        if left < min(settings.least_time, settings.lifetime / 2):
            return f"{left} s are left, less than {settings.least_time} s"
        ran = time.monotonic() - self._began
        if floor_s and taken and ran >= floor_s:
            return f"the pilot has run {ran:.0f} s, the queue's time floor is {floor_s} s"
        return ""

    def too_long(self, definition: JobDefinition, told_s: int) -> str:
        """Why a job cannot come to its end in the `told_s` s that it was asked for; empty if it can.

        Its wall time counts where the queue says so (protocol.md 7.3, job_maxwalltime) and a batch job ends for sure;
        a pilot's lifetime alone refuses nothing.
        """
        if (
            not self._batch_ends
            or definition.max_wall_s <= told_s
            or not self._means.queue_for(definition).job_maxwalltime
        ):
            return ""
        return f"it may take {definition.max_wall_s} s and the pilot has {told_s} s left"

    def _told(self, left: int | None, error: PilotError | None) -> None:
        self.known = True
        if left is not None:
            self._batch_ends_in(left)
        else:
            _log.warning("the batch system does not tell when the batch job ends%s", f": {error}" if error else "")
        self._on_known()

    def _batch_ends_in(self, left: float) -> None:
        self._batch_ends = True
        margin = max(0.0, min(self._means.settings.end_margin, left / _MARGIN_PART))
        _log.info("the batch job ends in %.0f s; jobs are stopped %.0f s before", left, margin)
        self._ends_in(left - margin, "the batch job is about to end")

    def _ends_in(self, seconds: float, why: str) -> None:
        """End in so many seconds, unless an earlier end is known already."""
        end = time.monotonic() + seconds
        if end >= self._end_at:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._end_at = end
        self._timer = self._means.loop.after(max(0.0, seconds), lambda: self._on_end(why))
