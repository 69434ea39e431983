"""What `pilot transfer` is asked for: Pegasus transfer lists (JSON or the old text form) and our own, as transfers."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from pilot.core.transfer import Direction, Endpoint, Transfer
from pilot.lib.checksum import parse_checksum
from pilot.lib.files import local_path
from pilot.staging.sitemap import OutputClass, Route, in_order, input_places, output_places

_VARIABLE = re.compile(r"\$(?:\{([A-Za-z]\w+)\}|([A-Za-z]\w+))")
#: `# src 1 SITE` above a source, `# dst 1 SITE` above a destination.
_COMMENT = re.compile(r"# +\w+ +\w+ +([\w-]+)")
#: Schemes that mean a local file and how it is to get there.
_MANNERS = {"file": "", "symlink": "symlink", "moveto": "move"}
#: A link whose source need not exist here: it may be a path inside a container.
_UNCHECKED = {"symlink": "blindlink"}
_DEFAULT_PRIORITY = 50


class BadRequest(ValueError):
    """A list of transfers that cannot be understood; tells where."""


class Place(msgspec.Struct, frozen=True):
    """One end of a transfer, with the keys of Pegasus and ours (`rse`)."""

    url: str
    site_label: str = ""
    rse: str = ""
    type: str | None = None
    priority: int | None = None


class Target(msgspec.Struct, frozen=True):
    """What is to be made or removed."""

    url: str
    site_label: str = ""
    recursive: bool = False


class TransferEntry(msgspec.Struct, frozen=True, tag="transfer", tag_field="type"):
    """A file to move. `src_urls` and `dest_urls` are Pegasus's: the destinations are alternatives, the best is taken.

    `sources` and `targets` are ours: every target gets the file. `checksum` is in any form that catalogues hold.
    Instead of `targets`, an output may tell its `output_class` (`pure`, `intermediate`), whether it is to be kept
    (`transfer`), and its places at the `staging` and the `output` site. An input may tell its place at the `staging`
    site: it comes from there first, or with `bypass` only if its sources do not give it. Of several staging places,
    labelled with their sites, the map of the compute site decides.
    """

    lfn: str = ""
    linkage: str = ""
    src_urls: tuple[Place, ...] = ()
    dest_urls: tuple[Place, ...] = ()
    sources: tuple[Place | str, ...] = ()
    targets: tuple[Place | str, ...] = ()
    generate_checksum: bool = False
    verify_checksum_remote: bool = False
    verify_symlink_source: bool = True
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

    target: Target


class RemoveEntry(msgspec.Struct, frozen=True, tag="remove", tag_field="type"):
    """A file or, with `recursive`, a directory to remove."""

    target: Target


class Request(msgspec.Struct, frozen=True):
    """What is asked for, in the order of work: directories, transfers, removals.

    `summed` holds the LFNs whose checksum the asker wants to be told (`generate_checksum`).
    """

    directories: tuple[Target, ...] = ()
    transfers: tuple[Transfer, ...] = ()
    removals: tuple[Target, ...] = ()
    summed: frozenset[str] = frozenset()


_DECODER = msgspec.json.Decoder(tuple[TransferEntry | MkdirEntry | RemoveEntry, ...], strict=False)


def read_request(
    text: bytes, environment: Mapping[str, str], directory: str, link: bool = False, route: Route | None = None
) -> Request:
    """Understand a list. Raises `BadRequest`, and `PilotError` for a checksum that cannot be one.

    Variables in local paths are replaced from `environment`, relative paths begin at `directory`. With `link`, files
    whose source and target carry the same site label are linked instead of copied. `route` is about staging sites.
    """
    entries = _old_form(text.decode("utf-8", "surrogateescape")) if text[:5] == b"# src" else _json(text)
    directories: list[Target] = []
    removals: list[Target] = []
    transfers: list[Transfer] = []
    summed: set[str] = set()
    reader = _Reader(environment, directory, link, route or Route())
    for number, entry in enumerate(entries):
        if isinstance(entry, TransferEntry):
            transfer = reader.transfer(entry, number)
            transfers.append(transfer)
            if entry.generate_checksum:
                summed.add(transfer.lfn)
            continue
        target = msgspec.structs.replace(entry.target, url=reader.url(entry.target.url)[0])
        (directories if isinstance(entry, MkdirEntry) else removals).append(target)
    return Request(tuple(directories), tuple(transfers), tuple(removals), frozenset(summed))


def _json(text: bytes) -> tuple[Any, ...]:
    if not text.strip():
        raise BadRequest("the list is empty text; an empty list is []")
    try:
        return _DECODER.decode(text)
    except msgspec.ValidationError as error:
        raise BadRequest(str(error)) from error
    except msgspec.DecodeError as error:
        raise BadRequest(f"this is no JSON: {error}") from error


#: What may make a path other than it looks.
_ODD = frozenset("\0:$")


class _Reader:
    """Turns entries into transfers with absolute paths."""

    def __init__(self, environment: Mapping[str, str], directory: str, link: bool, route: Route) -> None:
        self._environment = environment
        self._directory = directory
        self._link = link
        self._route = route

    def transfer(self, entry: TransferEntry, number: int) -> Transfer:
        sources = [self.place(p) for p in (*entry.src_urls, *entry.sources)]
        best = max(entry.dest_urls, key=lambda p: _priority(p), default=None)
        label = sources[0][0].site if sources else ""
        targets = [self.place(p) for p in ((best,) if best else entry.targets)] or self.classed(entry, number, label)
        if not sources or not targets:
            raise BadRequest(f"transfer {number + 1} ({entry.lfn or 'no lfn'}) has no source or no destination")
        manner = targets[0][1]
        copytool = entry.copytool or (manner if entry.verify_symlink_source else _UNCHECKED.get(manner, manner))
        if not copytool and entry.dest_urls and best and best.type == "singularity" and _is_docker(sources[0][0].url):
            copytool = "sifimage"
        if self._link and not copytool and _same_site(sources[0][0], targets[0][0]):
            copytool = "symlink"
        checksums = (entry.checksum,) if isinstance(entry.checksum, str) else entry.checksum
        return Transfer(
            lfn=entry.lfn or targets[0][0].url.rpartition("/")[2],
            sources=self.through(entry, [place for place, _ in sources], targets[0][0].site),
            targets=tuple(place for place, _ in targets),
            direction=Direction.OTHER,
            scope=entry.scope,
            guid=entry.guid,
            dataset=entry.dataset,
            size=entry.size,
            checksums=tuple(c for text in checksums for c in parse_checksum(text)),
            kinds=("sha256",) if entry.generate_checksum else (),
            read_back=entry.verify_checksum_remote,
            copytool=copytool,
        )

    def through(self, entry: TransferEntry, own: list[Endpoint], label: str) -> tuple[Endpoint, ...]:
        """The sources of a file; those of an input with a staging place in their order."""
        if entry.staging is None or entry.output_class is not None:
            return tuple(own)
        own.sort(key=lambda place: -place.priority)
        bypass = self._route.bypass if entry.bypass is None else entry.bypass
        return in_order(input_places(tuple(self.staging(entry, label)), tuple(own), bypass))

    def staging(self, entry: TransferEntry, label: str) -> list[Endpoint]:
        """The staging places of a file that the map allows."""
        given = entry.staging if isinstance(entry.staging, tuple) else (entry.staging,)
        return self._route.choose([self.place(place)[0] for place in given if place is not None], label)

    def classed(self, entry: TransferEntry, number: int, label: str) -> list[tuple[Endpoint, str]]:
        """The targets that an output's class asks for."""
        if entry.output_class is None:
            return []
        if entry.staging is None or entry.output is None:
            raise BadRequest(f"transfer {number + 1} ({entry.lfn}): an output_class needs both staging and output")
        staging, output = self.staging(entry, label), self.place(entry.output)[0]
        if not staging:
            site = self._route.site or label or "a site without name"
            raise BadRequest(f"transfer {number + 1} ({entry.lfn}) has no place at a staging site of {site}")
        return [(place, "") for place in output_places(entry.output_class, entry.transfer, staging[0], output)]

    def place(self, place: Place | str) -> tuple[Endpoint, str]:
        """The end as it is used, and the manner that its scheme asks for."""
        if isinstance(place, str):
            url, manner = self.url(place)
            return Endpoint(url, priority=_DEFAULT_PRIORITY), manner
        url, manner = self.url(place.url)
        return Endpoint(url, rse=place.rse, site=place.site_label, priority=_priority(place)), manner

    def url(self, text: str) -> tuple[str, str]:
        """A local URL as an absolute path, with its variables replaced; a remote one as it is."""
        if text[:1] == "/" and _ODD.isdisjoint(text):
            return text, _MANNERS["file"]
        if not text or "\0" in text:
            raise BadRequest(f"{text!r} is no URL")
        scheme, colon, rest = text.partition(":")
        if not colon or scheme.lower() not in _MANNERS:
            if "://" in text:
                return text, ""
            scheme, rest = "file", text
        elif rest[:2] == "//":
            rest = rest[2:].removeprefix("localhost")
        path = _VARIABLE.sub(lambda found: self._environment.get(found[1] or found[2], ""), rest)
        if not path:
            raise BadRequest(f"{text!r} names no file")
        return os.path.join(self._directory, path), _MANNERS[scheme.lower()]


def _priority(place: Place) -> int:
    return _DEFAULT_PRIORITY if place.priority is None else place.priority


def _is_docker(url: str) -> bool:
    return url[:9].lower() == "docker://"


def _same_site(source: Endpoint, target: Endpoint) -> bool:
    local = local_path(source.url) is not None and local_path(target.url) is not None
    return local and bool(source.site) and source.site == target.site


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
