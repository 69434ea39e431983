"""The messages between a payload's workers and the pilot: JSON lines (configs/schema/events.json). Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable

import msgspec
from msgspec.structs import replace

from pilot.core.errors import MessageHandlingFailure
from pilot.core.ranges import EventRange

VERSION = 1


class Hello(msgspec.Struct, frozen=True, tag_field="type", tag="hello"):
    """A worker is there."""

    version: int = VERSION
    pid: int = 0
    worker: str = ""


class Ask(msgspec.Struct, frozen=True, gc=False, tag_field="type", tag="ask"):
    """It can take up to `count` ranges. Answered once: by ranges, or by no_more."""

    count: int = 1


class Waiting(msgspec.Struct, frozen=True, tag_field="type", tag="waiting"):
    """It waits for the answer while `open` of its ranges have no outcome, and none may ever come before the answer."""

    open: int = 0


class Done(msgspec.Struct, frozen=True, gc=False, tag_field="type", tag="done"):
    """It has worked a range through; `path` is the output's, empty if there is none, `loss` that of a hyper-parameter
    point."""

    id: str
    path: str = ""
    cpu_s: float | None = None
    wall_s: float | None = None
    loss: float | None = None


def possible(said: Done, most_s: float) -> Done:
    """The same without times that cannot be: negative ones, no numbers, walls of more than `most_s`."""
    cpu_s = said.cpu_s if said.cpu_s is not None and 0.0 <= said.cpu_s < math.inf else None
    wall_s = said.wall_s if said.wall_s is not None and 0.0 <= said.wall_s <= most_s else None
    return said if (cpu_s, wall_s) == (said.cpu_s, said.wall_s) else replace(said, cpu_s=cpu_s, wall_s=wall_s)


class Failed(msgspec.Struct, frozen=True, tag_field="type", tag="failed"):
    """It could not work a range through."""

    id: str
    why: str = ""
    fatal: bool = False
    cpu_s: float | None = None
    wall_s: float | None = None


class Bye(msgspec.Struct, frozen=True, tag_field="type", tag="bye"):
    """It leaves. `begun` are ranges that it began and gives no outcome; others that it has it never began."""

    begun: tuple[str, ...] = ()


Message = Hello | Ask | Waiting | Done | Failed | Bye

_decoder = msgspec.json.Decoder(Message)
_encoder = msgspec.json.Encoder()


def parse(line: bytes) -> Message:
    """One line of a worker. Raises `MessageHandlingFailure`."""
    try:
        message: Message = _decoder.decode(line)
        return message
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise MessageHandlingFailure(f"{line[:200]!r}: {error}") from error


class _Ranges(msgspec.Struct, frozen=True, tag_field="type", tag="ranges"):
    ranges: list[EventRange]


def ranges_line(ranges: Iterable[EventRange]) -> bytes:
    """The answer that gives ranges."""
    return _encoder.encode(_Ranges(list(ranges))) + b"\n"


def word_line(kind: str, **more: object) -> bytes:
    """An answer that is one word (`welcome`, `no_more`, `farewell`, `refused`, `error`), with what belongs to it."""
    return _encoder.encode({"type": kind, **more}) + b"\n"
