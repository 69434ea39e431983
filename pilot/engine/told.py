"""What is told to the server of a job: an update made from what is known of it. Pure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pilot.core.facts import Facts
from pilot.core.job import JobDefinition
from pilot.core.lifecycle import Job, Phase
from pilot.core.update import JobUpdate, State

_WORDS = {
    Phase.ACQUIRED: State.STARTING,
    Phase.STAGING_IN: State.STARTING,
    Phase.RUNNING: State.RUNNING,
    Phase.STAGING_OUT: State.RUNNING,
}
#: User jobs with these errors may be tried again: reported with a minus (protocol.md 6.1).
_RECOVERABLE = frozenset({1135, 1136, 1137, 1141, 1152, 1181})


def state_of(job: Job, facts: Facts) -> State:
    """The server's word for where a job is; one whose payload waits for room is still starting."""
    if job.phase is Phase.RUNNING and not facts.runs:
        return State.STARTING
    return _WORDS.get(job.phase) or (State.FAILED if job.error else State.FINISHED)


def metrics_of(definition: JobDefinition, facts: Facts) -> dict[str, str]:
    """The jobMetrics of protocol.md 3.3 that a generic payload can give, in order of weight."""
    metrics: dict[str, str] = {"coreCount": str(definition.cores)}
    if facts.events is not None:
        metrics["nEvents"] = str(facts.events)
    usage = facts.usage
    if usage and usage.wall_s > 0:
        metrics["actualCoreCount"] = f"{usage.cpu_s / usage.wall_s:.2f}"
    if facts.workdir_bytes is not None:
        metrics["workDirSize"] = str(facts.workdir_bytes)
    if usage and facts.input_bytes:
        metrics["readbyterate"] = f"{usage.read_bytes / facts.input_bytes:.2f}"
    return metrics | facts.metrics


def update_of(
    definition: JobDefinition,
    job: Job,
    facts: Facts,
    at: float,
    *,
    directory: Path,
    metadata: dict[str, Any] | None = None,
    stdout: str = "",
) -> JobUpdate:
    """All that can be said of the job at `at` (epoch s); `metadata` only matters in the final word."""
    state = state_of(job, facts)
    usage = facts.usage
    return JobUpdate(
        job_id=definition.job_id,
        attempt=definition.attempt,
        state=state,
        at=at,
        started=facts.started,
        ended=facts.ended if state.final else None,
        cores=definition.cores,
        mean_cores=usage.cpu_s / usage.wall_s if usage and usage.wall_s > 0 else None,
        events=facts.events,
        input_files=len(definition.inputs),
        usage=usage,
        metrics=metrics_of(definition, facts),
        metadata=metadata if state.final else None,
        report=facts.stored if state.final else None,
        timing_s=facts.timing_s,
        log_excerpt=facts.log_excerpt,
        stdout=stdout,
        payload_exit=facts.exit.status if facts.exit else (0 if state is State.FINISHED else None),
        payload_error=facts.payload_error,
        error=job.error,
        recoverable=bool(job.error and job.error.code in _RECOVERABLE and definition.label in ("user", "panda")),
        corrupted_files=facts.corrupted_files,
        workdir=str(directory),
    )
