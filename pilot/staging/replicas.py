"""Which replica of an input is taken, and whether it is copied or read where it lies (protocol.md 8.2). Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from pilot.core.errors import PilotError
from pilot.core.job import InputFile, JobDefinition
from pilot.core.plan import LeftOut, Places
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
#: In the names of archives with what a user compiled.
_LIBRARY = ".lib."


class Replica(msgspec.Struct, frozen=True, omit_defaults=True):
    """One place where a file lies. A lower `priority` is nearer; `kind` is DISK or TAPE."""

    url: str
    rse: str = ""
    kind: str = "DISK"
    priority: int = 0


class Resolved(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a catalogue tells of a file. `silence` is why it tells nothing; then the file may be where rules put it."""

    replicas: tuple[Replica, ...] = ()
    size: int | None = None
    checksums: tuple[Checksum, ...] = ()
    silence: PilotError | None = None


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
    item: InputFile | None = None,
) -> Places:
    """The replicas that may be used, the best first, and why the others may not.

    What is not on disk is dropped. Those on the queue's own storages come first, in the order of its list (where it has
    none, the storage that the job names is near), then the others; within that by scheme, by the measured speed of
    their host (`speeds`, bytes/s; up to a factor of two is no difference), and by the catalogue's priority. The queue
    may forbid near or far ones, and schemes.
    """
    near = near_storages(site, activities, item)
    schemes = schemes_for(site, activities)
    far = not site.storages_for(*activities) or wants_far(site, item)
    measured = speeds or {}
    ranked: list[tuple[tuple[float, ...], Replica]] = []
    left_out: list[LeftOut] = []
    for replica in replicas:
        lan = replica.rse in near
        scheme = scheme_of(replica.url)
        liked = (READ_LAN if lan else READ_WAN) if in_place else (_COPY_LAN if lan else _COPY_WAN)
        if replica.kind != "DISK":
            why = f"on {replica.kind.lower()}"
        elif schemes and scheme not in schemes:
            why = f"the queue's schemes are {', '.join(schemes)}"
        elif scheme not in liked:
            why = f"no scheme {'to read in place' if in_place else 'for a copy'}, {'near' if lan else 'far'}"
        else:
            why = _forbidden(site, lan, in_place, far)
        if why:
            left_out.append(LeftOut(why, replica.url, replica.rse))
            continue
        place = near.index(replica.rse) if lan else len(near)
        speed = speed_class(replica.url, measured)
        ranked.append(((place, liked.index(scheme), -speed, replica.priority), replica))
    ranked.sort(key=lambda pair: pair[0])
    last = len(ranked)
    taken = tuple(
        Endpoint(replica.url, rse=replica.rse, site=site.name if replica.rse in near else "", priority=last - number)
        for number, (_, replica) in enumerate(ranked)
    )
    return Places(taken, tuple(left_out))


def _forbidden(site: StagingSite, lan: bool, in_place: bool, far: bool) -> str:
    """What of the queue's policy speaks against a replica; empty for nothing."""
    if lan and not site.allow_lan:
        return "near, and the queue's allow_lan is false"
    if in_place and not (site.direct_access_lan if lan else site.direct_access_wan):
        return f"the queue has no direct_access_{'lan' if lan else 'wan'}"
    if not in_place and not lan and not far:
        return "far, and the queue has no allow_wan"
    return ""


def near_storages(site: StagingSite, activities: Sequence[str], item: InputFile | None = None) -> tuple[str, ...]:
    """The storages that count as near: the queue's for the activity, else the job's own (protocol.md 8.2)."""
    return site.storages_for(*activities) or ((item.rse,) if item is not None and item.rse else ())


def schemes_for(site: StagingSite, activities: Sequence[str]) -> tuple[str, ...]:
    """The URL schemes that the queue allows; empty for all."""
    return next((found for name in (*activities, "default") if (found := site.schemes.get(name))), ())


def wants_far(site: StagingSite, item: InputFile | None) -> bool:
    """Whether the queue lets this input come from far; some let their users' libraries alone."""
    return site.allow_wan or (site.allow_wan_for_lib and item is not None and _LIBRARY in item.lfn)


def speed_class(url: str, speeds: Mapping[str, float]) -> int:
    """How fast a URL's host is, a step for each factor of two; one that nobody has measured is taken for average."""
    return math.floor(math.log2(max(1.0, speeds.get(host_of(url), _EXPECTED))))


def reads_in_place(definition: JobDefinition, item: InputFile, site: StagingSite) -> bool:
    """Whether a job wants this input read where it lies, and its queue lets it."""
    return not why_copied(definition, item, site)


def why_copied(definition: JobDefinition, item: InputFile, site: StagingSite) -> str:
    """Why an input is copied and not read where it lies; empty if it may be read there."""
    if definition.access_mode == "copy":
        return "the job's --accessmode is copy"
    if definition.access_mode != "direct" and not definition.direct_access:
        return "the job does not ask to read in place"
    if item.token == "local":
        return "its storage token is local"
    if not (site.direct_access_lan or site.direct_access_wan):
        return "the queue has neither direct_access_lan nor direct_access_wan"
    if item.archive:
        return "it is an archive that is unpacked"
    if definition.event_service or definition.event_merge:
        return "it belongs to a job of event ranges"
    name = item.lfn.lower()
    if name.startswith("raw") or any(name.endswith(word) or word in name for word in _NOT_IN_PLACE):
        return "names like this one are never read in place"
    return ""
