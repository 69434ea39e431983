"""Which staging site serves a compute site (`nebraska=firefly_srm,osg=firefly_srm,*=local`), and which places a file's
class asks for. Pure."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from enum import StrEnum

import msgspec

from pilot.core.transfer import Endpoint

SiteMap = tuple[tuple[str, tuple[str, ...]], ...]


class Route(msgspec.Struct, frozen=True):
    """What is said of staging sites for a whole list of files.

    `site` is the compute site (empty: what each file's own ends are labelled with); with `bypass` inputs come from
    their own places while these give them.
    """

    site_map: SiteMap = ()
    site: str = ""
    bypass: bool = False

    def choose(self, places: Sequence[Endpoint], label: str) -> list[Endpoint]:
        """Those of the staging places, labelled with their sites, that the map has for the compute site, in order.

        Without a map it is all of them.
        """
        if not self.site_map:
            return list(places)
        wanted = staging_sites(self.site_map, self.site or label)
        return [place for name in wanted for place in places if place.site == name]


class OutputClass(StrEnum):
    """A pure output is wanted by nobody later in the same workflow; an intermediate one is read by later jobs."""

    PURE = "pure"
    INTERMEDIATE = "intermediate"


def parse_map(text: str) -> SiteMap:
    """Understand a map: entries `compute=staging`, separated by commas; blanks around words do not matter.

    A pattern may have `*` and `?`. Several entries for one site, or `a=x|y`, are its staging sites in order, the later
    ones to fall back on. A single word without `=` serves every site. Raises `ValueError` naming the bad entry.
    """
    found: dict[str, list[str]] = {}
    entries = [entry.strip() for entry in text.split(",") if entry.strip()]
    for entry in entries:
        site, equals, staging = (part.strip() for part in entry.partition("="))
        if not equals and len(entries) == 1:
            site, staging = "*", site
        names = [name.strip() for name in staging.split("|")]
        if not site or not all(names) or "=" in staging:
            raise ValueError(f"{entry!r} is not compute=staging")
        found.setdefault(site, []).extend(name for name in names if name not in found.get(site, []))
    return tuple((site, tuple(names)) for site, names in found.items())


def staging_sites(site_map: SiteMap, site: str) -> tuple[str, ...]:
    """The staging sites of a compute site in order: its own entry, else the first pattern that fits, `*` last."""
    for wanted, names in site_map:
        if wanted == site:
            return names
    patterns = [(w, n) for w, n in site_map if w != "*" and any(mark in w for mark in "*?[")]
    for wanted, names in (*patterns, *((w, n) for w, n in site_map if w == "*")):
        if fnmatch.fnmatchcase(site, wanted):
            return names
    return ()


def output_places(kind: OutputClass, transfer: bool, staging: Endpoint, final: Endpoint) -> tuple[Endpoint, ...]:
    """Where an output of this class goes.

    | class        | transfer | to                                  |
    |--------------|----------|-------------------------------------|
    | pure         | true     | the output site alone: no staging   |
    | pure         | false    | the staging site                    |
    | intermediate | true     | both, fed from one read             |
    | intermediate | false    | the staging site                    |
    """
    if not transfer:
        return (staging,)
    return (final,) if kind is OutputClass.PURE else (staging, final)


def input_places(staging: tuple[Endpoint, ...], direct: tuple[Endpoint, ...], bypass: bool) -> tuple[Endpoint, ...]:
    """Where an input may come from in order: with `bypass` its own places first, else the staging site first."""
    return (*direct, *staging) if bypass else (*staging, *direct)


def in_order(places: Sequence[Endpoint]) -> tuple[Endpoint, ...]:
    """The same places with priorities that keep this order; one that comes twice is taken once."""
    once = {place.url: place for place in reversed(places)}
    kept = list(dict.fromkeys(place.url for place in places))
    last = len(kept)
    return tuple(msgspec.structs.replace(once[url], priority=last - n) for n, url in enumerate(kept))
