"""Copies of one job (protocol.md 4.6): one that has lost to another neither runs nor stores anything.

The copies contend for one event range. The server takes it for a copy itself: of a `runonce` job when it is told that
the copy runs, of a `storeonce` job when it has its final report. A pilot that took the range beforehand would have the
server find nothing left for the very copy that holds it, and kill that; so the pilot looks, and takes nothing.
"""

from __future__ import annotations

import msgspec

from pilot.core.errors import ExecutedCloneJob, Failure, PilotError, first_of
from pilot.core.job import JobDefinition
from pilot.core.ranges import ServerRangeState
from pilot.engine import stagework
from pilot.engine.eventservice.wishes import consumer_of
from pilot.engine.means import Means, Run
from pilot.plugins.sources.base import EventSource

_GONE = frozenset(str(word) for state in (ServerRangeState.CANCELLED, ServerRangeState.DISCARDED)
                  for word in (state.value, state.name.lower()))  # fmt: skip


def lost(source: EventSource | None, definition: JobDefinition) -> Failure | None:
    """The failure of a copy whose range is with another one; None if it may go on, or if nobody can tell.

    Waits for the server's answer. Raises `PilotError` if there is none.
    """
    if source is None or not definition.clone:
        return None
    consumer = consumer_of(definition)
    if source.count(consumer) != 0:
        return None
    own = source.states(consumer)
    if any(known.status.lower() not in _GONE for known in own.values()):
        return None  # this copy has it: from before a restart, or because the server has taken it for it already
    return ExecutedCloneJob("another copy has its range").failure()


def stage_out(means: Means, run: Run, log_only: bool, failure: Failure | None = None) -> stagework.StagedOut:
    """Send what the job has made, unless it has failed or another copy has stored the same already: then its log alone.

    Where the server does not answer all is sent; it decides between the copies again when it has their reports.
    """
    if failure is None and run.definition.clone == "storeonce" and not log_only:
        try:
            failure = lost(means.source.events, run.definition)
        except PilotError as error:
            run.log.error(f"the server was not asked whether another copy has stored its outputs: {error}")
    if failure is None:
        return stagework.stage_out(means, run, log_only)
    run.log.error(f"nothing is stored: {failure.message}")
    result = stagework.stage_out(means, run, log_only=True)
    return msgspec.structs.replace(result, failure=first_of(failure, result.failure) if result.failure else failure)
