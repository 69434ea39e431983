"""What is to be moved, what was tried and what came of it. Pure data shared by staging, engine and records."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from pilot.core.errors import Failure


class Direction(StrEnum):
    """Stage-in brings files to the worker node, stage-out sends them away; `OTHER` is neither (pilot transfer)."""

    IN = "in"
    OUT = "out"
    OTHER = "other"


class Checksum(msgspec.Struct, frozen=True):
    """A checksum in normal form: a known kind (`adler32`, `md5`, `sha256`, `crc32c`), lower-case hex, full length."""

    kind: str
    value: str


class Endpoint(msgspec.Struct, frozen=True, omit_defaults=True):
    """One place of a file. `url` has a scheme (`file:///...`, `root://...`); a higher `priority` is tried first."""

    url: str
    rse: str = ""
    site: str = ""
    priority: int = 0


class Transfer(msgspec.Struct, frozen=True, omit_defaults=True):
    """An order to bring one file from the first source that works to every one of its targets.

    `size` in bytes and `checksums` are what is known beforehand (None / empty: unknown, not checked).
    `kinds` are checksums that are wanted of it, beside the usual ones. With `read_back` a storage that cannot tell
    the checksum of what it received is made to give the file back. `copytool` names tools in order, separated by
    blanks (`auto`: link what is local); empty means: by URL schemes. `activity` is the queue's word (`pr`, `pw`, ...).
    With `refused` nothing is tried: what is asked for makes no sense.
    """

    lfn: str
    sources: tuple[Endpoint, ...]
    targets: tuple[Endpoint, ...]
    direction: Direction = Direction.OTHER
    scope: str = ""
    guid: str = ""
    dataset: str = ""
    size: int | None = None
    checksums: tuple[Checksum, ...] = ()
    kinds: tuple[str, ...] = ()
    read_back: bool = False
    activity: str = ""
    copytool: str = ""
    refused: Failure | None = None


class Attempt(msgspec.Struct, frozen=True, omit_defaults=True):
    """One try to move one file: a row of the PilotDB and an event. `started` is epoch s.

    With `in_place` nothing was moved: the file was looked at where the payload is going to read it.
    """

    lfn: str
    direction: Direction
    copytool: str
    source: str
    target: str
    started: float
    seconds: float
    size: int = 0
    checksum_seconds: float = 0.0
    rse: str = ""
    failure: Failure | None = None
    in_place: bool = False


class Outcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """What came of a `Transfer`: where the file is now, what it weighs, or why it is not there.

    `target` is the first target's URL. `checksums` maps kind to hex value, computed in the pass that copied.
    With `in_place` it was left where it is (`target` is its URL) and the payload reads it there.
    """

    lfn: str
    direction: Direction
    source: str = ""
    target: str = ""
    rse: str = ""
    size: int = 0
    checksums: dict[str, str] = {}
    seconds: float = 0.0
    attempts: tuple[Attempt, ...] = ()
    failure: Failure | None = None
    in_place: bool = False
