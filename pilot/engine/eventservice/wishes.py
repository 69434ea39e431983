"""What a job's description says about its event ranges: when archives are closed, how they are reported. Pure."""

from __future__ import annotations

from pilot.core.job import JobDefinition
from pilot.core.ranges import Consumer
from pilot.runtime.eventoutput import OutputLimits
from pilot.runtime.eventplan import Plan

_MB = 1_000_000


def plan_of(definition: JobDefinition, workers: int, gap_s: float = 0.0, answer_s: float = 0.5, tries: int = 0) -> Plan:
    """The plan: `zipPerMB` bounds an archive's size, `gap_s` (the queue's `zip_time_gap`, if it has one) its age."""
    limits = OutputLimits()
    size = _positive(definition.raw.get("zipPerMB"))
    outputs = OutputLimits(bytes=int(size * _MB) if size else limits.bytes, age_s=gap_s or limits.age_s)
    cores = max(1, definition.cores // max(1, workers))
    return Plan(workers=max(1, workers), cores=cores, tell_tries=tries, answer_s=answer_s, outputs=outputs)


def version_of(definition: JobDefinition) -> int:
    """The version of range updates (protocol.md 4.2): 2 for fine-grained processing, else 1.

    A server has no word for fine-grained jobs. It names the storage tokens of event outputs for all event service jobs,
    be it with an empty text, but for these.
    """
    return 1 if "prodDBlockTokenForOutput" in definition.raw else 2


def consumer_of(definition: JobDefinition) -> Consumer:
    """The job as the server's event tables know it."""
    return Consumer(
        definition.job_id,
        definition.task_id or 0,
        definition.jobset_id or 0,
        hpo=definition.hpo,
        source_url=str(definition.raw.get("sourceURL") or ""),
    )


def _positive(value: object) -> float | None:
    try:
        number = float(str(value))
    except ValueError:
        return None
    return number if number > 0 else None
