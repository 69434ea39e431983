"""Where an event range is and what was said of it: shared by the ledger and the PilotDB. Pure data."""

from __future__ import annotations

from enum import IntEnum, StrEnum

import msgspec

from pilot.core.ranges import EventRange


class RangeState(IntEnum):
    """Where a range is; the numbers stand in the PilotDB and are never changed."""

    READY = 0
    HELD = 1
    DONE = 2
    PACKED = 3
    STORED = 4
    FAILED = 5
    TOLD_FINISHED = 6
    TOLD_FAILED = 7
    REFUSED = 8
    RETURNED = 9


class Said(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What was said of a range: by the worker (its output, s of CPU and wall time, the loss of a hyper-parameter
    point), or why it failed."""

    output: str = ""
    cpu_s: float | None = None
    wall_s: float | None = None
    failure: str = ""
    fatal: bool = False
    loss: float | None = None


class Row(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Where one range is, for the PilotDB. `range` is given the first time; `archive` -1 means none."""

    n: int
    state: RangeState
    tries: int = 0
    archive: int = -1
    said: Said | None = None
    range: EventRange | None = None


class WrongState(Exception):
    """A range was told to do what its state does not allow; carries the range's id and state."""


class ArchiveState(StrEnum):
    """Where an archive of outputs is: its file is whole (`CLOSED`), on storage (`STORED`), the server knows of it
    (`TOLD`), or no storage took it (`LOST`)."""

    CLOSED = "closed"
    STORED = "stored"
    TOLD = "told"
    LOST = "lost"


class StoredArchive(msgspec.Struct, frozen=True, omit_defaults=True):
    """One archive of range outputs: the local file at `path`, `size` in bytes, and where it went."""

    number: int
    lfn: str
    path: str
    state: ArchiveState
    size: int
    adler32: str
    events: int
    rse: str = ""
    storage_id: str = ""
    surl: str = ""
