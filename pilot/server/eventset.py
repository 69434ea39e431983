"""How the events of a job are cut into ranges, and the names of the ranges. Pure.

The ranges of a set are numbered from 0 through all its files in order; a file knows the number of its first range.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from pilot.server.description import Spec, is_null, items, whole


class RangeState(IntEnum):
    """Where a range is (protocol.md 4.1)."""

    READY = 0
    SENT = 1
    FINISHED = 3
    DISCARDED = 5
    FAILED = 7
    FATAL = 8

    @property
    def word(self) -> str:
        """The state as answers tell it."""
        return self.name.lower()


@dataclass(frozen=True)
class RangeId:
    """The five numbers of a range's name; `process` counts the ranges of a file from 1."""

    task_id: int
    pandaid: int
    file_id: int
    process: int
    attempt: int

    def __str__(self) -> str:
        return f"{self.task_id}-{self.pandaid}-{self.file_id}-{self.process}-{self.attempt}"


def parsed(text: object) -> RangeId | None:
    """The numbers of a range's name; None if it is not one."""
    if not isinstance(text, str):
        return None
    parts = text.split("-")
    if len(parts) != 5:
        return None
    for part in parts:
        if not (part.isascii() and part.isdigit()):
            return None
    return RangeId(*map(int, parts))


@dataclass(frozen=True)
class InputFile:
    """An input file whose events are handed out: `first` is the number of its first range in the set."""

    file_id: int
    lfn: str
    guid: str
    scope: str
    events: int
    first: int

    def bounds(self, number: int, per_range: int) -> tuple[int, int]:
        """First and last event, both inside and counted from 1, of the set's range of that number."""
        start = (number - self.first) * per_range + 1
        return start, min(start + per_range - 1, self.events)


@dataclass(frozen=True)
class Cut:
    """A file of a description with its number of events, before it has a number of its own."""

    lfn: str
    guid: str
    scope: str
    events: int


def cuts(spec: Spec) -> Iterator[Cut]:
    """The input files with their events. One count for several files is divided evenly, the rest to the first."""
    lfns = items(spec.get("inFiles"))
    counts = [int(count) for count in items(spec.get("nEvents"))]
    if len(counts) == 1 < len(lfns):
        share, rest = divmod(counts[0], len(lfns))
        counts = [share + (place < rest) for place in range(len(lfns))]
    guids, scopes = items(spec.get("GUID")) or [""] * len(lfns), items(spec.get("scopeIn")) or [""] * len(lfns)
    for lfn, guid, scope, events in zip(lfns, guids, scopes, counts, strict=True):
        yield Cut(lfn, guid, scope, events)


def clone_cut(spec: Spec) -> Cut:
    """The one range that the copies of a cloned job contend for: everything, of the first input if there is one."""
    lfns, guids, scopes = (items(spec.get(key)) for key in ("inFiles", "GUID", "scopeIn"))
    events = spec.get("nEvents")
    return Cut(
        (lfns or [""])[0],
        (guids or [""])[0],
        (scopes or [""])[0],
        1 if is_null(events) else max(whole(spec, "nEvents", 1), 1),
    )
