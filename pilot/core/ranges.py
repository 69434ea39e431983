"""Event ranges: what an event service job works through, and what is told of them. Pure data (protocol.md 4)."""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import Any

import msgspec


class EventRange(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A few successive events of one input file, both ends included.

    `id` is the server's `taskID-pandaID-fileID-job_processID-attemptNr`. `path` is where the payload finds the
    input (a local path or a URL), empty as long as nobody knows. `extra` keeps what the server sent besides
    (`hp_point`, `checkpoint`), unread.
    """

    id: str
    lfn: str
    start_event: int
    last_event: int
    guid: str = ""
    scope: str = ""
    path: str = ""
    extra: dict[str, Any] = {}

    @property
    def events(self) -> int:
        """How many events the range has."""
        return max(self.last_event - self.start_event + 1, 0)


class RangeStatus(StrEnum):
    """The words that a pilot may say of a range; `running` and `transferring` have no effect on the server."""

    RUNNING = "running"
    TRANSFERRING = "transferring"
    FINISHED = "finished"
    FAILED = "failed"
    FATAL = "fatal"

    @property
    def final(self) -> bool:
        """Whether the server stores the word."""
        return self in (RangeStatus.FINISHED, RangeStatus.FAILED, RangeStatus.FATAL)


class ServerRangeState(IntEnum):
    """Where the server sees a range (protocol.md 4.1)."""

    READY = 0
    SENT = 1
    RUNNING = 2
    FINISHED = 3
    CANCELLED = 4
    DISCARDED = 5
    DONE = 6
    FAILED = 7
    FATAL = 8
    MERGED = 9
    CORRUPTED = 10


class RangeUpdate(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What became of one range. `cpu_s` and `cores` as the worker used them, `loss` that of a hyper-parameter point,
    which Harvester is told and a server is not (protocol.md 5.3).

    `path`, `size` and `adler32` tell of an output that is reported on its own, outside an archive.
    """

    id: str
    status: RangeStatus
    cores: int | None = None
    cpu_s: float | None = None
    storage_id: str = ""
    path_convention: int | None = None
    error_code: int | None = None
    error_text: str = ""
    path: str = ""
    size: int | None = None
    adler32: str = ""
    events: int | None = None
    loss: float | None = None


class Archive(msgspec.Struct, frozen=True, omit_defaults=True):
    """An archive of range outputs, where it has been stored and what it weighs.

    `storage_id` is the object store's id as the server knows it, `path_convention` how its path is made there
    (1000: scope `transient`). `size` in bytes, `adler32` eight hex digits, `events` the number of its ranges' events.
    """

    lfn: str
    storage_id: str = ""
    size: int = 0
    adler32: str = ""
    events: int = 0
    path_convention: int | None = None
    path: str = ""


class Chunk(msgspec.Struct, frozen=True):
    """Ranges that are reported together: those in one archive, or (`archive` None) those without one."""

    updates: tuple[RangeUpdate, ...]
    archive: Archive | None = None


class Consumer(msgspec.Struct, frozen=True, omit_defaults=True):
    """On whose behalf ranges are asked for. `segment` and `scattered` as in protocol.md 4.1."""

    job_id: int
    task_id: int = 0
    jobset_id: int = 0
    segment: int | None = None
    scattered: bool = False
    hpo: bool = False
    source_url: str = ""


class Granted(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answer to a request for ranges. `exhausted`: the server has no more for this job now."""

    ranges: tuple[EventRange, ...] = ()
    exhausted: bool = False


class Told(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answer to range updates.

    `stored` has one entry per update, in order, across all chunks: True stored, False refused for good (unknown job,
    malformed id: do not say it again), None without effect. `commands` maps PandaID to the server's word
    (`tobekilled`, `softkill`).
    """

    stored: tuple[bool | None, ...] = ()
    commands: dict[int, str] = {}


class KnownRange(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the server says of one range when it is asked: its word or number, and the error it has for it."""

    status: str
    error: int | None = None
    dialog: str = ""
