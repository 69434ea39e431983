"""The entries of a list of transfers as they are written: the JSON of Pegasus with our keys, and its old text form."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from pilot.staging.sitemap import OutputClass

#: `# src 1 SITE` above a source, `# dst 1 SITE` above a destination.
_COMMENT = re.compile(r"# +\w+ +\w+ +([\w-]+)")
#: What a mistake in JSON is and where: its words, the entry from 0, the keys that lead there.
_AT = re.compile(r"(.+) - at `\$\[(\d+)\]([^`]*)`", re.DOTALL)
_YES, _NO = frozenset({"yes", "true", "t", "1"}), frozenset({"no", "false", "f", "0", ""})


class BadRequest(ValueError):
    """A list of transfers that cannot be understood; tells where."""


class Place(msgspec.Struct, frozen=True):
    """One end of a transfer, with the keys of Pegasus and ours (`rse`). What other writers make of a key is borne."""

    url: str
    site_label: str | None = ""
    rse: str = ""
    type: Any = None
    priority: int | float | bool | str | None = None

    def rank(self, default: int) -> int:
        """The priority as a whole number. Raises `BadRequest`."""
        if self.priority is None:
            return default
        try:
            return int(self.priority)
        except (ValueError, OverflowError) as error:
            raise BadRequest(f"priority is no number: {self.priority!r}") from error


class TargetEntry(msgspec.Struct, frozen=True):
    """What is to be made or removed. `recursive` may be a word: yes, true, t, 1 and their opposites."""

    url: str
    site_label: str | None = ""
    recursive: bool | int | str | None = False

    @property
    def deep(self) -> bool:
        """Whether all that is in a directory goes with it. Raises `BadRequest` for a word that may mean anything."""
        if not isinstance(self.recursive, str):
            return bool(self.recursive)
        word = self.recursive.lower()
        if word not in _YES and word not in _NO:
            raise BadRequest(f"recursive is neither yes nor no: {self.recursive!r}")
        return word in _YES


class TransferEntry(msgspec.Struct, frozen=True, tag="transfer", tag_field="type"):
    """A file to move. `src_urls` and `dest_urls` are Pegasus's: the destinations are alternatives, the best is taken.

    `sources` and `targets` are ours: every target gets the file. `checksum` is in any form that catalogues hold.
    Instead of `targets`, an output may tell its `output_class` (`pure`, `intermediate`), whether it is to be kept
    (`transfer`), and its places at the `staging` and the `output` site. An input may tell its place at the `staging`
    site: it comes from there first, or with `bypass` only if its sources do not give it. Of several staging places,
    labelled with their sites, the map of the compute site decides.
    """

    lfn: str | int | float | None = ""
    src_urls: tuple[Place, ...] = ()
    dest_urls: tuple[Place, ...] = ()
    sources: tuple[Place | str, ...] = ()
    targets: tuple[Place | str, ...] = ()
    generate_checksum: bool | None = False
    verify_checksum_remote: bool | None = False
    verify_symlink_source: bool | None = True
    scope: str = ""
    guid: str = ""
    dataset: str = ""
    size: int | None = None
    checksum: str | tuple[str, ...] = ()
    copytool: str = ""
    output_class: OutputClass | None = None
    transfer: bool = True
    staging: Place | str | tuple[Place | str, ...] | None = None
    output: Place | str | None = None
    bypass: bool | None = None


class MkdirEntry(msgspec.Struct, frozen=True, tag="mkdir", tag_field="type"):
    """A directory to make."""

    target: TargetEntry


class RemoveEntry(msgspec.Struct, frozen=True, tag="remove", tag_field="type"):
    """A file or, with `recursive`, a directory to remove."""

    target: TargetEntry


Entry = TransferEntry | MkdirEntry | RemoveEntry
_DECODER = msgspec.json.Decoder(tuple[Entry, ...], strict=False)


def read_entries(text: bytes) -> Iterable[Entry]:
    """The entries of a list in either form. Raises `BadRequest`, for the old form while it is gone through."""
    text = text.removeprefix(codecs.BOM_UTF8)
    return _old_form(text.decode("utf-8", "surrogateescape")) if text.lstrip()[:5] == b"# src" else _json(text)


def _json(text: bytes) -> tuple[Any, ...]:
    if not text.strip():
        raise BadRequest("the list is empty text; an empty list is []")
    try:
        return _DECODER.decode(text)
    except msgspec.ValidationError as error:
        raise BadRequest(_where_and_what(str(error))) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequest(f"this is no JSON: {error}") from error


def _where_and_what(error: str) -> str:
    """What a list's reader says (`Expected `int`, got `str` - at `$[0].size``) for somebody who wrote the list."""
    found = _AT.fullmatch(error)
    if found is None:
        return "a list of entries is expected: [{...}, ...]" if error.startswith("Expected `array`") else error
    what, number, key = found[1], int(found[2]) + 1, found[3].lstrip(".")
    if key == "type":
        what += "; known: transfer, mkdir, remove"
    what = what[0].lower() + what[1:].replace("`", "")
    return f"entry {number}{f', {key}' if key else ''}: {what}"


def _old_form(text: str) -> Iterator[TransferEntry]:
    """The old text form: a comment with a site and a URL, for the source and then for the destination."""
    places: list[Place] = []
    site = ""
    for number, line in enumerate(text.split("\n"), 1):
        line = line.rstrip("\r")
        if len(line) <= 4:
            continue
        if line[0] == "#":
            words = _COMMENT.match(line)
            if words is None:
                raise BadRequest(f"line {number}: {line[:80]!r} is no comment that names a site")
            site = words[1]
            continue
        places.append(Place(line, site_label=site))
        if len(places) == 2:
            yield TransferEntry(src_urls=(places[0],), dest_urls=(places[1],))
            places = []
    if places:
        raise BadRequest(f"line {number}: the last source has no destination")
