"""The classic text protocol of event ranges (protocol.md 4.3): four kinds of message, raw UTF-8. Pure.

`Ready for events`, `<path>,ID:<range>,CPU:<s>,WALL:<s>` and `ERR_<NAME> <range>: <text>` come from the payload; a JSON
list with one range, or `No more events`, goes back. A path may hold commas and colons: fields are taken off from the
right, and only those whose names are known.
"""

from __future__ import annotations

import contextlib
import re

import msgspec

from pilot.core.errors import MessageHandlingFailure
from pilot.core.ranges import EventRange
from pilot.runtime.eventwire import Ask, Done, Failed, Message

READY = "Ready for events"
NO_MORE = "No more events"

_RANGE_ID = re.compile(r"\b\d+(?:-\d+){4}\b")
_FIELD = re.compile(r"\s*(ID|CPU|WALL)\s*:(.*)", re.IGNORECASE | re.DOTALL)
_ERROR = re.compile(r"(ERR_[A-Z0-9_]+)\s*(.*)", re.DOTALL)
#: Messages that arrive as one piece although they were sent one by one.
_WHOLE = re.compile(
    r"Ready for events"
    r"|ERR_[A-Z0-9_]+ .*?(?=$|Ready for events|\n)"
    r"|[^\n]+?,ID:[^,\n]+(?:,(?:CPU|WALL):[0-9.eE+-]*)*(?=$|Ready for events|ERR_[A-Z]|/|\n)",
    re.DOTALL,
)


def parse(text: str) -> Message:
    """One message of the payload. Raises `MessageHandlingFailure`."""
    text = text.strip()
    if text.startswith(READY):
        return Ask(1)
    error = _ERROR.match(text)
    if error:
        return _failed(error[1], error[2])
    return _done(text)


def is_begun(data: bytes) -> bool:
    """Whether the first bytes of a stream are the begin of a request, and no more."""
    return len(data) < len(READY) and READY.encode().startswith(data)


def split(text: str) -> list[str]:
    """The messages in a piece of the stream that has no newlines between them."""
    return [whole.strip() for whole in _WHOLE.findall(text)] or [text.strip()]


def answer(ranges: list[EventRange]) -> str:
    """What the payload gets: a list with range dictionaries under the server's names."""
    listed = [
        {
            "eventRangeID": item.id,
            "startEvent": item.start_event,
            "lastEvent": item.last_event,
            "LFN": item.lfn,
            "GUID": item.guid,
            "scope": item.scope,
            **({"PFN": item.path} if item.path else {}),
            **item.extra,
        }
        for item in ranges
    ]
    return msgspec.json.encode(listed).decode()


def _failed(name: str, rest: str) -> Failed:
    found = _RANGE_ID.search(rest)
    id, _, why = rest.partition(":")
    if found:
        id, why = found[0], rest[found.end() :].partition(":")[2] or rest
    if not id.strip():
        raise MessageHandlingFailure(f"{name} names no event range: {rest[:200]!r}")
    return Failed(id.strip(), f"{name}: {why.strip()}", fatal="FATAL" in name)


def _done(text: str) -> Done | Failed:
    parts = text.split(",")
    fields: dict[str, str] = {}
    while len(parts) > 1:
        field = _FIELD.fullmatch(parts[-1])
        if field is None or field[1].upper() in fields:
            break
        fields[field[1].upper()] = field[2].strip()
        parts.pop()
    if "ID" not in fields:
        raise MessageHandlingFailure(f"neither a request nor an outcome: {text[:200]!r}")
    path = ",".join(parts)
    if not path.strip():
        return Failed(fields["ID"], "the payload named no output")
    return Done(fields["ID"], path, _seconds(fields.get("CPU")), _seconds(fields.get("WALL")))


def _seconds(text: str | None) -> float | None:
    with contextlib.suppress(TypeError, ValueError):
        return max(0.0, float(text)) if text is not None else None
    return None
