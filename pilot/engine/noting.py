"""Every attempt to move a file is written down as it ends, not when its phase does: a kill -9 loses none of them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from msgspec.structs import replace

from pilot.core.errors import NoLocalSpace
from pilot.core.transfer import Attempt, Outcome
from pilot.engine.means import Means, Run
from pilot.lib.urls import shown

_log = logging.getLogger("pilot.staging")


def noting(means: Means, run: Run) -> Callable[[Attempt], None]:
    """What is called with each attempt, in a staging thread: a row of the PilotDB, which the event stream follows.

    The row is written by the loop's thread; on a full disk there is none.
    """

    def note(attempt: Attempt) -> None:
        def write() -> None:
            try:
                means.store.add_attempts(run.key, [means.redactor.clean(attempt)])
            except NoLocalSpace as full:
                _log.warning("an attempt to move %s is not noted: %s", attempt.lfn, full)

        if attempt.failure is not None:
            run.log.info(shown(f"attempt failed: {attempt.copytool} {attempt.source}: {attempt.failure.message}"))
        means.loop.post(write)

    return note


def noted(outcomes: Iterable[Outcome]) -> tuple[Outcome, ...]:
    """The outcomes without their attempts, whose rows have been written already."""
    return tuple(replace(outcome, attempts=()) for outcome in outcomes)
