"""Every attempt to move a file is written down as it ends, not when its phase does: a kill -9 loses none of them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from pilot.core.errors import NoLocalSpace
from pilot.core.transfer import Attempt, Outcome
from pilot.engine.means import Means, Run
from pilot.lib.urls import shown
from pilot.staging.report import told_attempt, told_outcome

_log = logging.getLogger("pilot.staging")


def noting(means: Means, run: Run) -> Callable[[Attempt], None]:
    """What is called with each attempt, in a staging thread: it becomes a row of the PilotDB and an event.

    Both are written by the loop's thread, without what is secret in URLs; on a full disk there is no row.
    """

    def note(attempt: Attempt) -> None:
        told = told_attempt(attempt)

        def write() -> None:
            if means.on_attempt is not None:
                means.on_attempt(run.key, means.redactor.clean(told))
            try:
                means.store.add_attempts(run.key, [means.redactor.clean(told)])
            except NoLocalSpace as full:
                _log.warning("an attempt to move %s is not noted: %s", attempt.lfn, full)

        if attempt.failure is not None:
            run.log.info(shown(f"attempt failed: {attempt.copytool} {attempt.source}: {attempt.failure.message}"))
        means.loop.post(write)

    return note


def noted(outcomes: Iterable[Outcome]) -> tuple[Outcome, ...]:
    """The outcomes as the PilotDB gets them: without their attempts, whose rows have been written already."""
    return tuple(told_outcome(outcome) for outcome in outcomes)
