"""What `pilot transfer` is asked for: Pegasus transfer lists (JSON or the old text form) and our own, as transfers."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from functools import cached_property

import msgspec

from pilot.core.errors import Failure, PilotError
from pilot.core.transfer import Checksum, Direction, Endpoint, Transfer
from pilot.lib.checksum import parse_checksum
from pilot.lib.files import local_path
from pilot.staging.entries import BadRequest, MkdirEntry, Place, TransferEntry, read_entries
from pilot.staging.expected import expected_sums
from pilot.staging.sitemap import Route, in_order, input_places, output_places

#: Braces need not come in pairs: so the writers of these lists are used to it.
_VARIABLE = re.compile(r"\$\{?([A-Za-z][A-Za-z0-9_]+)\}?")
#: Schemes that mean a local file and how it is to get there.
_MANNERS = {"file": "", "symlink": "symlink", "moveto": "move"}
#: A link whose source need not exist here: it may be a path inside a container.
_UNCHECKED = {"symlink": "blindlink"}
_DEFAULT_PRIORITY = 50
_SLASHES = re.compile("//+")
_DOUBLED = frozenset({"root", "roots", "xroot", "xroots"})


class Target(msgspec.Struct, frozen=True):
    """What is to be made or removed."""

    url: str
    site_label: str = ""
    recursive: bool = False


class Request(msgspec.Struct, frozen=True):
    """What is asked for, in the order of work: directories, transfers, removals.

    `summed` holds the LFNs whose checksum the asker wants to be told (`generate_checksum`).
    """

    directories: tuple[Target, ...] = ()
    transfers: tuple[Transfer, ...] = ()
    removals: tuple[Target, ...] = ()
    summed: frozenset[str] = frozenset()


def read_request(
    text: bytes, environment: Mapping[str, str], directory: str, link: bool = False, route: Route | None = None
) -> Request:
    """Understand a list. Raises `BadRequest`; an entry whose checksum cannot be one fails alone.

    Variables in local paths are replaced from `environment`, relative paths begin at `directory`. With `link`, files
    whose source and target carry the same site label are linked instead of copied. `route` is about staging sites.
    A file that is listed twice, from the same places to the same place, is one transfer.
    """
    directories: list[Target] = []
    removals: list[Target] = []
    transfers: dict[tuple[object, ...], Transfer] = {}
    summed: set[str] = set()
    reader = _Reader(environment, directory, link, route or Route())
    for number, entry in enumerate(read_entries(text)):
        if isinstance(entry, TransferEntry):
            try:
                transfer = reader.transfer(entry, number)
            except BadRequest as error:
                raise BadRequest(f"transfer {number + 1} ({entry.lfn or 'no lfn'}): {error}") from error
            transfers.setdefault((transfer.lfn, transfer.sources, transfer.targets), transfer)
            if entry.generate_checksum:
                summed.add(transfer.lfn)
            continue
        written = entry.target
        url, manner = reader.url(written.url, plain=True)
        deep = written.deep and manner != "symlink"  # a link has nothing below it; what else is there is not meant
        target = Target(url, written.site_label or "", deep)
        (directories if isinstance(entry, MkdirEntry) else removals).append(target)
    return Request(tuple(directories), tuple(transfers.values()), tuple(removals), frozenset(summed))


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
        sources = [*(self.place(p, plain=True) for p in entry.src_urls), *map(self.place, entry.sources)]
        best = max(entry.dest_urls, key=lambda p: _priority(p), default=None)
        label = sources[0][0].site if sources else ""
        ends = [self.place(best, plain=True)] if best else [self.place(place) for place in entry.targets]
        targets = [self.inside(end, sources) for end in ends] or self.classed(entry, number, label)
        if not sources or not targets:
            lacks = "destination: give `targets` or `dest_urls`" if sources else "source: give `sources` or `src_urls`"
            raise BadRequest(f"it has no {lacks}")
        manner = targets[0][1]
        lfn = "" if entry.lfn is None else str(entry.lfn)
        copytool = entry.copytool or (manner if entry.verify_symlink_source else _UNCHECKED.get(manner, manner))
        if not copytool and entry.dest_urls and best and best.type == "singularity" and _is_docker(sources[0][0].url):
            copytool = "sifimage"
        if copytool == "symlink" and os.path.isdir(sources[0][0].url):
            copytool = "blindlink"
        if manner and not entry.copytool:
            copytool += " auto"  # a source that is elsewhere is fetched
        if self._link and not copytool and _same_site(sources[0][0], targets[0][0]):
            copytool = "symlink"
        checksums, refused = _checksums(entry)
        return Transfer(
            lfn=lfn or targets[0][0].url.rpartition("/")[2],
            sources=self.through(entry, [place for place, _ in sources], targets[0][0].site),
            targets=tuple(place for place, _ in targets),
            direction=Direction.OTHER,
            scope=entry.scope,
            guid=entry.guid,
            dataset=entry.dataset,
            size=entry.size,
            checksums=(*checksums, *self.expected(entry, lfn)),
            kinds=("sha256",) if entry.generate_checksum else (),
            read_back=bool(entry.verify_checksum_remote),
            copytool=copytool,
            refused=refused,
        )

    @cached_property
    def _sums(self) -> Mapping[str, tuple[Checksum, ...]]:
        return expected_sums(self._directory)

    def expected(self, entry: TransferEntry, lfn: str) -> tuple[Checksum, ...]:
        """What a file must be whose checksum is to be verified, if it is written down beside the list."""
        return self._sums.get(lfn, ()) if entry.verify_checksum_remote else ()

    def inside(self, end: tuple[Endpoint, str], sources: list[tuple[Endpoint, str]]) -> tuple[Endpoint, str]:
        """The target itself, or where it is a directory, the place in it under the source's name."""
        path = end[0].url
        if not sources or path[:1] != "/" or not (path[-1] == "/" or os.path.isdir(path)):
            return end
        name = sources[0][0].url.partition("?")[0].rpartition("/")[2] if "://" in sources[0][0].url else ""
        name = name or os.path.basename(sources[0][0].url)
        return (msgspec.structs.replace(end[0], url=os.path.join(path, name)), end[1]) if name else end

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

    def place(self, place: Place | str, plain: bool = False) -> tuple[Endpoint, str]:
        """The end as it is used, and the manner that its scheme asks for."""
        if isinstance(place, str):
            url, manner = self.url(place)
            return Endpoint(url, priority=_DEFAULT_PRIORITY), manner
        url, manner = self.url(place.url, plain)
        return Endpoint(url, rse=place.rse, site=place.site_label or "", priority=_priority(place)), manner

    def url(self, text: str, plain: bool = False) -> tuple[str, str]:
        """A local URL as an absolute path, with its variables replaced; a remote one as it is, or `plain`."""
        path = text[7:] if text[:8] == "file:///" else text
        if path[:1] == "/" and _ODD.isdisjoint(path):
            return path, _MANNERS["file"]
        if not text or "\0" in text:
            raise BadRequest(f"{text!r} is no URL")
        scheme, colon, rest = text.partition(":")
        if not colon or scheme.lower() not in _MANNERS:
            if "://" in text:
                return _single_slashes(text) if plain else text, ""
            scheme, rest = "file", text
        elif rest[:2] == "//":
            rest = rest[2:].removeprefix("localhost")
        path = _VARIABLE.sub(lambda found: self._environment.get(found[1], ""), rest)
        if not path:
            raise BadRequest(f"{text!r} names no file")
        return os.path.join(self._directory, path), _MANNERS[scheme.lower()]


def _checksums(entry: TransferEntry) -> tuple[tuple[Checksum, ...], Failure | None]:
    """What the file must have, and why it is refused where that cannot be."""
    given = (entry.checksum,) if isinstance(entry.checksum, str) else entry.checksum
    try:
        return tuple(c for text in given for c in parse_checksum(text)), None
    except PilotError as error:
        return (), error.failure()


def _priority(place: Place) -> int:
    return place.rank(_DEFAULT_PRIORITY)


def _single_slashes(url: str) -> str:
    """A URL as planners mean it: they put parts together without a look at their slashes. XRootD's paths begin with one
    more, without which they would not be absolute."""
    scheme, _, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    path, mark, query = path.partition("?")
    first = "//" if scheme.lower() in _DOUBLED else slash
    return f"{scheme}://{host}{first if slash else ''}{_SLASHES.sub('/', path).lstrip('/')}{mark}{query}"


def _is_docker(url: str) -> bool:
    return url[:9].lower() == "docker://"


def _same_site(source: Endpoint, target: Endpoint) -> bool:
    local = local_path(source.url) is not None and local_path(target.url) is not None
    return local and bool(source.site) and source.site == target.site
