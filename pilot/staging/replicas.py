"""Which replica of an input is taken, and whether it is copied or read where it lies (protocol.md 8.2). Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from pilot.core.job import InputFile, JobDefinition
from pilot.core.storage import StagingSite
from pilot.core.transfer import Checksum, Endpoint
from pilot.lib.checksum import LENGTHS
from pilot.lib.urls import host_of, scheme_of

#: Preference of URL schemes for a copy, near and far, and for reading in place.
_COPY_LAN = ("root", "roots", "davs", "https", "dcache", "dcap", "file", "gsiftp", "srm", "storm", "http", "s3", "gs")
_COPY_WAN = ("root", "roots", "davs", "gsiftp", "dcap", "srm", "storm", "https", "http", "s3", "gs")
READ_LAN = ("root", "dcache", "dcap", "file", "https")
READ_WAN = ("root", "https")
#: Bytes/s that are expected of a host which nobody has measured yet.
_EXPECTED = 1e7
#: Names of files that are never read in place: archives are unpacked, raw data are read from end to end.
_NOT_IN_PLACE = (".tar.gz", ".lib.tgz", ".raw.")


class Replica(msgspec.Struct, frozen=True, omit_defaults=True):
    """One place where a file lies. A lower `priority` is nearer; `kind` is DISK or TAPE."""

    url: str
    rse: str = ""
    kind: str = "DISK"
    priority: int = 0


class Resolved(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a catalogue tells of a file."""

    replicas: tuple[Replica, ...] = ()
    size: int | None = None
    checksums: tuple[Checksum, ...] = ()


def resolved(told: Mapping[str, Any]) -> Resolved:
    """What the Rucio clients tell of one file: `size`, `sums`, `places`."""
    sums = {kind: str(value).lower() for kind, value in (told.get("sums") or {}).items() if kind in LENGTHS}
    return Resolved(
        replicas=tuple(
            Replica(
                url=str(place["pfn"]),
                rse=str(place.get("rse") or ""),
                kind=str(place.get("type") or "DISK").upper(),
                priority=int(place.get("priority") or 0),
            )
            for place in told.get("places") or ()
        ),
        size=told.get("size"),
        checksums=tuple(Checksum(kind, value.zfill(LENGTHS[kind])) for kind, value in sums.items()),
    )


def order_replicas(
    replicas: Sequence[Replica],
    site: StagingSite,
    activities: Sequence[str] = ("read_lan", "pr"),
    in_place: bool = False,
    speeds: Mapping[str, float] | None = None,
) -> tuple[Endpoint, ...]:
    """The replicas that may be used, the best first.

    What is not on disk is dropped. Those on the queue's own storages come first, in the order of its list, then the
    others; within that by scheme, by the measured speed of their host (`speeds`, bytes/s; up to a factor of two is no
    difference), and by the catalogue's priority. The queue may forbid near or far ones, and schemes.
    """
    near = site.storages_for(*activities)
    schemes = next((s for a in (*activities, "default") if (s := site.schemes.get(a))), ())
    measured = speeds or {}
    ranked: list[tuple[tuple[float, ...], Replica]] = []
    for replica in replicas:
        lan = replica.rse in near
        scheme = scheme_of(replica.url)
        liked = (READ_LAN if lan else READ_WAN) if in_place else (_COPY_LAN if lan else _COPY_WAN)
        if replica.kind != "DISK" or scheme not in liked or (schemes and scheme not in schemes):
            continue
        if lan and not site.allow_lan:
            continue
        if in_place and not (site.direct_access_lan if lan else site.direct_access_wan):
            continue
        if not in_place and near and not lan and not site.allow_wan:
            continue
        place = near.index(replica.rse) if lan else len(near)
        speed = speed_class(replica.url, measured)
        ranked.append(((place, liked.index(scheme), -speed, replica.priority), replica))
    ranked.sort(key=lambda pair: pair[0])
    last = len(ranked)
    return tuple(
        Endpoint(replica.url, rse=replica.rse, site=site.name if replica.rse in near else "", priority=last - number)
        for number, (_, replica) in enumerate(ranked)
    )


def speed_class(url: str, speeds: Mapping[str, float]) -> int:
    """How fast a URL's host is, a step for each factor of two; one that nobody has measured is taken for average."""
    return math.floor(math.log2(max(1.0, speeds.get(host_of(url), _EXPECTED))))


def reads_in_place(definition: JobDefinition, item: InputFile, site: StagingSite) -> bool:
    """Whether a job wants this input read where it lies, and its queue lets it."""
    mode = definition.access_mode or ("direct" if definition.direct_access else "copy")
    if mode != "direct" or item.token == "local" or not (site.direct_access_lan or site.direct_access_wan):
        return False
    if item.archive or definition.event_service or definition.event_merge:
        return False
    name = item.lfn.lower()
    return not (name.startswith("raw") or any(name.endswith(w) or w in name for w in _NOT_IN_PLACE))
