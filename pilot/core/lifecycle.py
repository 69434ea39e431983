"""The way of a job, as one table. `decide` is the only place that moves a phase.

| phase       | order given on entry | next if fine | next once anything failed |
|-------------|----------------------|--------------|---------------------------|
| ACQUIRED    | -                    | STAGING_IN   | REPORTING                 |
| STAGING_IN  | stage in             | RUNNING      | STAGING_OUT (log only)    |
| RUNNING     | run                  | STAGING_OUT  | STAGING_OUT (log only)    |
| STAGING_OUT | stage out            | REPORTING    | REPORTING                 |
| REPORTING   | report               | DONE         | REPORTING (send again)    |
| DONE        | -                    | -            | -                         |

There are two kinds of event. A `Reply` answers the order of the present phase, exactly once, and is the only
thing that moves the phase. A `Stop` may come at any time: it notes why, asks that the present work be abandoned,
and never moves the phase; the abandoned work's own reply does.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from pilot.core.errors import Failure, first_of


class Phase(StrEnum):
    """Where a job is."""

    ACQUIRED = "acquired"
    STAGING_IN = "staging_in"
    RUNNING = "running"
    STAGING_OUT = "staging_out"
    REPORTING = "reporting"
    DONE = "done"


class Order(StrEnum):
    """What is to be done for a job now."""

    NOTHING = "nothing"
    STAGE_IN = "stage_in"
    RUN = "run"
    STAGE_OUT = "stage_out"
    STAGE_OUT_LOG = "stage_out_log"
    REPORT = "report"
    ABANDON = "abandon"


class Job(msgspec.Struct, frozen=True):
    """The state of one attempt of a job: where it is and what went wrong, kept apart."""

    key: str
    phase: Phase = Phase.ACQUIRED
    error: Failure | None = None
    stopping: bool = False


class Reply(msgspec.Struct, frozen=True):
    """The present phase's order has been carried out; `failure` tells why it was not done as asked."""

    phase: Phase
    failure: Failure | None = None


class Stop(msgspec.Struct, frozen=True):
    """The job shall end early, for this reason."""

    failure: Failure


Event = Reply | Stop


class ImpossibleMove(Exception):
    """An event does not fit the phase of the job; carries the job's story for whoever has to find out why."""


_NEXT = {
    Phase.ACQUIRED: (Phase.STAGING_IN, Phase.REPORTING),
    Phase.STAGING_IN: (Phase.RUNNING, Phase.STAGING_OUT),
    Phase.RUNNING: (Phase.STAGING_OUT, Phase.STAGING_OUT),
    Phase.STAGING_OUT: (Phase.REPORTING, Phase.REPORTING),
}
_WORKING = frozenset({Phase.STAGING_IN, Phase.RUNNING, Phase.STAGING_OUT})


def entry_order(job: Job) -> Order:
    """The order that belongs to the job's phase: given on entry, and again after a restart of the pilot."""
    match job.phase:
        case Phase.STAGING_IN:
            return Order.STAGE_IN
        case Phase.RUNNING:
            return Order.RUN
        case Phase.STAGING_OUT:
            return Order.STAGE_OUT_LOG if job.error else Order.STAGE_OUT
        case Phase.REPORTING:
            return Order.REPORT
        case _:
            return Order.NOTHING


def decide(job: Job, event: Event) -> tuple[Job, Order]:
    """Say what becomes of the job and what is to be done next. Pure; raises `ImpossibleMove`."""
    if isinstance(event, Stop):
        return _stop(job, event)
    if event.phase is not job.phase or job.phase is Phase.DONE:
        raise ImpossibleMove(f"job {job.key} is {job.phase}, error {job.error}: a reply from {event.phase} came")
    if job.phase is Phase.REPORTING:
        if event.failure is not None:
            return job, Order.REPORT
        return msgspec.structs.replace(job, phase=Phase.DONE), Order.NOTHING
    error = first_of(job.error, event.failure) if event.failure else job.error
    fine, failed = _NEXT[job.phase]
    moved = msgspec.structs.replace(job, phase=failed if error else fine, error=error, stopping=False)
    return moved, entry_order(moved)


def _stop(job: Job, event: Stop) -> tuple[Job, Order]:
    """Note the reason; from REPORTING on the outcome is settled and a stop comes too late to change it."""
    if job.phase in (Phase.REPORTING, Phase.DONE):
        return job, Order.NOTHING
    noted = msgspec.structs.replace(job, error=first_of(job.error, event.failure), stopping=True)
    if job.stopping or job.phase not in _WORKING:
        return noted, Order.NOTHING
    return noted, Order.ABANDON
