"""What is hidden in a job's parameters (protocol.md 2.2, jobPars): base64, overlays, zip map, container image."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any

import msgspec

from pilot.core.errors import ConversionFailure
from pilot.core.fields import literal

_BASE64 = re.compile(r"[A-Za-z0-9+/]{8,}={0,2}")
_ZIP_MAP = re.compile(r"\s*'?<ZIP_MAP>(.*?)</ZIP_MAP>'?", re.DOTALL)
_IMAGE = re.compile(r"(?:^|(?<=\s))--containerImage[= ]\s*(\"[^\"]*\"|'[^']*'|\S+)\s?")
_ACCESS = re.compile(r"(?:^|\s)['\"]?--accessmode[= ](copy|direct)\b")
_LOCAL_IO = re.compile(r"(?:^|\s)--useLocalIO\b")


class Parameters(msgspec.Struct, frozen=True, omit_defaults=True):
    """The parameters as the payload gets them, and what was found in them for the pilot."""

    text: str
    queue_overlay: dict[str, Any] = {}
    storage_overlay: dict[str, Any] = {}
    zip_map: dict[str, tuple[str, ...]] = {}
    image: str = ""
    access_mode: str = ""


def read_parameters(jobpars: str) -> Parameters:
    """Take what is meant for the pilot out of `jobPars`; overlays, zip map and image are removed from the text.

    Raises `ConversionFailure` (1302) when an overlay cannot be read.
    """
    text = decode(jobpars)
    text, queue = _overlay(text, "--overwriteQueueData")
    text, storage = _overlay(text, "--overwriteStorageData")
    # The old spelling held `key=value` pairs of another configuration system: it means nothing any more.
    text = re.sub(r"\s*--overwriteQueuedata={[^}]*}", "", text)
    zipped = " ".join(_ZIP_MAP.findall(text))
    text = _ZIP_MAP.sub("", text)
    images = _IMAGE.findall(text)
    text = _IMAGE.sub("", text)
    access = _ACCESS.search(text)
    return Parameters(
        text.strip(),
        queue,
        storage,
        _zip_map(zipped),
        images[0].strip("\"'") if images else "",
        access[1] if access else "copy" if _LOCAL_IO.search(text) else "",
    )


def decode(text: str) -> str:
    """The text that was meant: base64 is undone where it is that beyond doubt.

    The server sends no mark, so it is guessed: one word in the base64 alphabet that decodes to printable text
    which itself holds a blank or begins like an option.
    """
    word = text.strip()
    if len(word) % 4 or not _BASE64.fullmatch(word):
        return text
    try:
        plain = base64.b64decode(word, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return text
    printable = all(letter.isprintable() or letter in "\n\t" for letter in plain)
    return plain if printable and (" " in plain or plain.startswith("-")) else text


def _overlay(text: str, option: str) -> tuple[str, dict[str, Any]]:
    """Cut `option={...}` (quoted or not) out of the text and read its object."""
    merged: dict[str, Any] = {}
    while (at := text.find(option + "=")) >= 0:
        start = text.find("{", at)
        end = _end_of_object(text, start) if start >= 0 else -1
        lead = text[at + len(option) + 1 : start] if start >= 0 else ""
        found = literal(text[start:end]) if end > 0 and lead.strip("'\"\\ ") == "" else None
        if not isinstance(found, dict):
            raise ConversionFailure(
                f"jobPars: {option} has no readable object ({text[at : at + 80]!r}): write it as JSON in braces"
            )
        merged.update({str(key): value for key, value in found.items()})
        before = text[:at]
        if before.endswith(("'", '"')) and text[end : end + 1] == before[-1]:
            before, end = before[:-1], end + 1
        elif lead and text[end : end + len(lead.strip())] == lead.strip():
            end += len(lead.strip())
        text = f"{before.rstrip()} {text[end:].lstrip()}".strip()
    return text, merged


def _end_of_object(text: str, start: int) -> int:
    """The place after the brace that closes the one at `start`, braces within quotes not counted; -1 if none does."""
    depth, quote, skip = 0, "", False
    for at in range(start, len(text)):
        letter = text[at]
        if skip:
            skip = False
        elif letter == "\\":
            skip = True
        elif quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        elif letter in "{}":
            depth += 1 if letter == "{" else -1
            if depth == 0:
                return at + 1
    return -1


def _zip_map(text: str) -> dict[str, tuple[str, ...]]:
    """`archive:member,member archive2:...` as a table; pieces without a colon are left out."""
    pairs = (item.partition(":") for item in text.split())
    return {name: tuple(members.split(",")) for name, colon, members in pairs if colon}
