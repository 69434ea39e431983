"""What a payload may use up, and the judgement over one sample. Pure: the clock and the figures come as arguments."""

from __future__ import annotations

import msgspec

from pilot.core.errors import Failure, Owner, PayloadExceedsMemory, PilotError, ReachedMaxTime, ResourceUnavailable
from pilot.core.usage import Sample


class Limits(msgspec.Struct, frozen=True, omit_defaults=True):
    """The limits of one payload; 0 means: none.

    `memory_mb` holds for the PSS of all processes. It is broken when the PSS exceeds it by `memory_grace` (a factor)
    for `memory_grace_s`. Time limits are multiplied by `time_grace`, the work directory's by `workdir_grace`.
    `output_mb` is the largest single output file, `stdout_mb` the payload's own log, `disk_free_mb` what must stay
    free on the file system of the work directory. `looping_s` is the longest time without any sign of life.
    """

    memory_mb: int = 0
    cpu_s: int = 0
    wall_s: int = 0
    workdir_mb: int = 0
    output_mb: int = 0
    stdout_mb: int = 0
    disk_free_mb: int = 0
    processes: int = 0
    open_files: int = 0
    looping_s: int = 0
    memory_grace: float = 1.0
    memory_grace_s: float = 0.0
    time_grace: float = 1.0
    workdir_grace: float = 1.2


def too_much(error: type[PilotError], what: str, value: str, limit: str, owner: Owner | None = None) -> Failure:
    """The failure of a broken limit: the message names the quantity, its value and the limit."""
    failure = error(f"{what} {value} over the limit of {limit}").failure()
    return msgspec.structs.replace(failure, owner=owner) if owner else failure


def over_memory(limits: Limits, sample: Sample) -> bool:
    """Whether this sample is over the memory limit, grace factor included; how long that may last is the caller's."""
    return bool(limits.memory_mb) and sample.pss_kb > limits.memory_mb * 1024 * limits.memory_grace


def memory_failure(limits: Limits, sample: Sample) -> Failure:
    """The failure of a payload whose memory stays over the limit."""
    return too_much(PayloadExceedsMemory, "PSS", f"{sample.pss_kb // 1024} MB", f"{limits.memory_mb} MB")


def broken(limits: Limits, sample: Sample) -> Failure | None:
    """Judge what one sample shows at once: CPU and wall time, processes, open files. None: all is well."""
    cpu_s = sample.user_s + sample.system_s
    if limits.wall_s and sample.wall_s > limits.wall_s * limits.time_grace:
        return too_much(ReachedMaxTime, "wall time", f"{sample.wall_s:.0f} s", f"{limits.wall_s} s", Owner.PAYLOAD)
    if limits.cpu_s and cpu_s > limits.cpu_s * limits.time_grace:
        return too_much(ReachedMaxTime, "CPU time", f"{cpu_s:.0f} s", f"{limits.cpu_s} s", Owner.PAYLOAD)
    if limits.processes and sample.processes > limits.processes:
        return too_much(ResourceUnavailable, "processes", str(sample.processes), str(limits.processes), Owner.PAYLOAD)
    if limits.open_files and sample.open_files > limits.open_files:
        return too_much(
            ResourceUnavailable, "open files", str(sample.open_files), str(limits.open_files), Owner.PAYLOAD
        )
    return None
