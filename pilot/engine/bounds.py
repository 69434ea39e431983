"""What one payload may use up: from its definition, the queue and the pilot's own settings. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

import msgspec

from pilot.core.job import JobDefinition
from pilot.core.limits import Limits
from pilot.core.queue import QueueData
from pilot.core.resources import ResourceType, memory_limit_mb
from pilot.lib.cgroup import Bounds
from pilot.runtime.slots import Grant

#: Threads for each process that is allowed, and beyond that: where forking is stopped by the kernel.
_THREADS_EACH, _THREADS_ALL = 16, 1024
_LOOPING_S, _STDOUT_MB, _OUTPUT_MB, _DISK_FREE_MB = 7200, 2048, 500_000, 1024


def limits_of(
    definition: JobDefinition,
    queue: QueueData,
    disk_total_mb: int,
    own: Mapping[str, float] | None = None,
    types: Mapping[str, ResourceType] | None = None,
) -> Limits:
    """The limits of a job's payload; what `own` names wins, 0 too. `disk_total_mb` is its file system's size,
    `types` are the server's resource types: those that it does not tell have the usual memory.

    The free disk that must stay is 1 GB, on small file systems a twentieth of them.
    """
    limits = Limits(
        memory_mb=memory_limit_mb(
            definition.resource_type,
            max(1, definition.cores),
            definition.memory_mb,
            queue.max_memory_mb,
            queue.cores,
            types,
        ),
        memory_grace=queue.memory_factor,
        wall_s=queue.wall_limit_s(definition.max_wall_s),
        workdir_mb=queue.max_workdir_mb,
        workdir_grace=1 + queue.workdir_grace / 100,
        output_mb=_OUTPUT_MB,
        stdout_mb=_STDOUT_MB,
        disk_free_mb=min(_DISK_FREE_MB, disk_total_mb // 20),
        looping_s=_LOOPING_S if definition.looping_check else 0,
    )
    return msgspec.structs.replace(limits, **(own or {}))


def bounds_of(limits: Limits, grant: Grant | None) -> Bounds:
    """What the kernel holds, whatever the payload tries: its memory, its processors, and a stop to endless forking.

    A payload that is not pinned gets a quota of CPU time in the place of a set of processors. The kernel counts
    threads: a payload that keeps to its number of processes must never come near its bound. Memory is not bound to
    NUMA nodes: it comes from near the processors as long as there is some.
    """
    pinned = bool(grant and grant.cpus)
    return Bounds(
        memory_mb=round(limits.memory_mb * limits.memory_grace),
        cores=float(grant.cores) if grant and not pinned else 0.0,
        processes=limits.processes * _THREADS_EACH + _THREADS_ALL if limits.processes else 0,
        cpus=grant.cpus if grant else frozenset(),
    )


def parse_limits(text: str) -> dict[str, float]:
    """`processes=100,stdout_mb=10` as fields of `Limits`; 0 takes a limit away. Raises ValueError naming the word and
    the nearest known one."""
    known = {field.name: field.type for field in msgspec.structs.fields(Limits)}
    found: dict[str, Any] = {}
    for word in filter(None, (part.strip() for part in text.split(","))):
        name, _, value = word.partition("=")
        if name not in known:
            near = difflib.get_close_matches(name, known, 1, cutoff=0.4)
            raise ValueError(f"there is no limit {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
        try:
            found[name] = known[name](value)
            if not 0 <= found[name] < float("inf"):
                raise ValueError
        except ValueError:
            raise ValueError(f"limit {name} is {value!r}, expected a number") from None
    return found
