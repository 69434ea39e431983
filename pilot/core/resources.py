"""Resource types (SCORE, MCORE_HIMEM, ...) and the memory that a job may use because of its own (protocol.md 9)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from pilot.core.errors import ConversionFailure
from pilot.core.fields import Fields

#: Memory of a core in MB where the server tells no types.
_BY_SUFFIX = {"_LOMEM": 1000, "_HIMEM": 3000}
_NORMAL = 2000


class ResourceType(msgspec.Struct, frozen=True, omit_defaults=True):
    """One type as the server defines it: cores, and memory of a core in MB (0: no bound)."""

    name: str
    least_cores: int = 0
    most_cores: int = 0
    least_memory_mb: int = 0
    most_memory_mb: int = 0


def read_types(records: Iterable[Mapping[str, Any]]) -> dict[str, ResourceType]:
    """The types by name; records that make no sense are left out."""
    found = {}
    for record in records:
        fields = Fields(record)
        try:
            kind = ResourceType(
                fields.text("resource_name"),
                fields.amount("mincore"),
                fields.amount("maxcore"),
                fields.amount("minrampercore"),
                fields.amount("maxrampercore"),
            )
        except ConversionFailure:
            continue
        if kind.name:
            found[kind.name] = kind
    return found


def memory_limit_mb(
    resource_type: str,
    cores: int,
    wanted_mb: int = 0,
    queue_mb: int = 0,
    queue_cores: int = 1,
    types: Mapping[str, ResourceType] | None = None,
) -> int:
    """The memory that a job of this type may use, before any grace; 0 for no limit.

    Types of very high memory have the queue's own memory (a share of it by cores for single-core jobs). Others have
    the type's memory for each core. A job without a type has what it asked for, rounded up to whole GB.
    """
    if "VHIMEM" in resource_type:
        share = queue_mb * cores // max(1, queue_cores) if resource_type.startswith("SCORE") else queue_mb
        return share or wanted_mb
    known = (types or {}).get(resource_type)
    if known is not None and known.most_memory_mb:
        return known.most_memory_mb * cores
    if resource_type:
        per_core = next((mb for suffix, mb in _BY_SUFFIX.items() if resource_type.endswith(suffix)), _NORMAL)
        return max(per_core * cores, wanted_mb)
    return math.ceil(wanted_mb / 1000) * 1000
