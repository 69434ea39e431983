"""Which places an input may come from and an output go to, and why not others (protocol.md 8.2, 8.3). Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from pilot.core.errors import NonDeterministicStorage, NoReplicas, NoStorage, PilotError, ReplicaNotFound
from pilot.core.job import InputFile, OutputFile
from pilot.core.plan import LeftOut, Places
from pilot.core.storage import StagingSite
from pilot.core.transfer import Endpoint
from pilot.lib.files import check_name, file_url
from pilot.lib.urls import scheme_of
from pilot.staging.paths import named_place
from pilot.staging.replicas import Resolved, near_storages, order_replicas, schemes_for
from pilot.staging.through import endpoints

#: Whether any of the tools can move a file there: the URL, and the tools' names separated by blanks.
Movable = Callable[[str, str], bool]

#: The rule of paths by which outputs of events lie under one scope (protocol.md 4.1).
_CONVENTION, _TRANSIENT = 1000, "transient"
_NEAR_WAYS, _FAR_WAYS = ("read_lan", "read_wan", "r", "pr"), ("read_wan", "read_lan", "r", "pr")
_WRITE_WAYS = ("write_lan", "write_wan", "w", "pw")
_UNKNOWN = "nothing is known of this storage"
_NO_RULE = "not deterministic: paths there do not follow from names"


def places_of_input(
    item: InputFile,
    name: str,
    site: StagingSite,
    activities: Sequence[str] = ("read_lan", "pr"),
    told: Resolved | None = None,
    speeds: Mapping[str, float] | None = None,
) -> Places:
    """Where an input may be taken from: its own path or URL, else the site's input directory, else its replicas, else
    by the rule of paths from the queue's storages and the one that the job names."""
    if item.path:
        url = item.path if "://" in item.path else file_url(item.path)
        return Places((Endpoint(url, rse=item.rse),), by="the job")
    if "://" in item.lfn and not item.lfn.startswith("zip://"):
        return Places((Endpoint(item.lfn, rse=item.rse),), by="the job")
    if site.input_dir:
        return Places((Endpoint(named_place(site.input_dir, name), rse=item.rse),), by="the input directory")
    if told is None:
        return _by_rule(item, name, site, activities)
    if told.silence is None:
        found = order_replicas(told.replicas, site, activities, speeds=speeds, item=item)
        return msgspec.structs.replace(found, by="Rucio")
    return msgspec.structs.replace(_by_rule(item, name, site, activities), note=str(told.silence))


def no_source(item: InputFile, site: StagingSite, found: Places, told: Resolved | None) -> PilotError:
    """Why an input has no source, as the error that the job fails with."""
    if told is not None and told.silence is not None:
        reasons = "; ".join(left.why for left in found.left_out) or "no storage is named"
        return type(told.silence)(f"{told.silence.detail}; nor does a rule tell a place: {reasons}")
    if found.by == "Rucio" and told is not None and not told.replicas:
        return ReplicaNotFound(f"{item.scope}:{item.lfn}: the catalogue knows none")
    if found.by == "Rucio":
        reasons = "; ".join(dict.fromkeys(left.why for left in found.left_out))
        return NoReplicas(f"{item.lfn}: none of {len(found.left_out)} replicas may be used here ({reasons})")
    named = ", ".join(left.rse for left in found.left_out if left.rse) or "not named"
    if found.left_out and all(left.why == _NO_RULE for left in found.left_out):
        return NonDeterministicStorage(f"nothing tells where input {item.lfn} is on {named}")
    reasons = "; ".join(dict.fromkeys(left.why for left in found.left_out))
    return NoStorage(f"nothing tells where input {item.lfn} is (storage {named}{': ' if reasons else ''}{reasons})")


def _by_rule(item: InputFile, name: str, site: StagingSite, activities: Sequence[str]) -> Places:
    """The storages of the queue's list, and the one that the job names: first among these, after them if it is far."""
    listed, near = site.storages_for(*activities), near_storages(site, activities, item)
    buckets = [s.rse for s in site.storages if item.storage_id is not None and s.bucket == str(item.storage_id)]
    names = buckets or ([item.rse, *listed] if item.rse in near else [*listed, *([item.rse] if item.rse else [])])
    scope = _TRANSIENT if item.path_convention == _CONVENTION else item.scope
    allowed = schemes_for(site, activities)
    taken: list[Endpoint] = []
    left_out: list[LeftOut] = []
    for rse in dict.fromkeys(names):
        storage = site.storage(rse)
        ways = _NEAR_WAYS if rse in near else _FAR_WAYS
        if storage is None or not (places := endpoints(storage, scope, name, *ways)):
            left_out.append(LeftOut(_why_no_path(site, rse), rse=rse))
        elif rse in near and not site.allow_lan:
            left_out.append(LeftOut("near, and the queue's allow_lan is false", rse=rse))
        else:
            fitting = [place for place in places if not allowed or scheme_of(place.url) in allowed]
            others = [place for place in places if place not in fitting]
            taken += fitting
            left_out += [LeftOut(f"the queue's schemes are {', '.join(allowed)}", p.url, p.rse) for p in others]
    return Places(tuple(taken), tuple(left_out), by="the rule of paths")


def _why_no_path(site: StagingSite, rse: str) -> str:
    storage = site.storage(rse)
    if storage is None:
        return _UNKNOWN
    return "it has no protocol" if storage.deterministic else _NO_RULE


def places_of_output(
    item: OutputFile,
    site: StagingSite,
    activities: Sequence[str],
    tools: Sequence[str] = (),
    movable: Movable | None = None,
) -> Places:
    """Where an output may go to: the site's output directory, else the job's storage where it is on the queue's list
    or there is none, else the storages of that list, else the job's own. The first is meant, on the others it would
    lie if nothing were known of those before them."""
    if site.output_dir:
        return Places((Endpoint(named_place(site.output_dir, item.lfn), rse=item.rse),), by="the output directory")
    listed = site.storages_for(*activities)
    own = [item.rse] if item.rse else []
    names = [*own, *listed] if item.rse in listed or not listed else [*listed, *own]
    if site.last_resort:
        names.append(site.last_resort)
    taken: list[Endpoint] = []
    left_out: list[LeftOut] = []
    for rse in dict.fromkeys(names):
        fitting, others = ways_to_write(item.scope, check_name(item.lfn), rse, site, activities, tools, movable)
        taken += fitting[:1]
        left_out += others
    if movable is not None and not taken:  # the transfer fails for the reason that the tools give
        return places_of_output(item, site, activities, tools)
    return Places(tuple(taken), tuple(left_out), by="the queue's list" if listed else "the job")


def ways_to_write(
    scope: str,
    lfn: str,
    rse: str,
    site: StagingSite,
    activities: Sequence[str],
    tools: Sequence[str] = (),
    movable: Movable | None = None,
) -> tuple[list[Endpoint], list[LeftOut]]:
    """The places of an output on one storage that the queue's schemes and tools reach, and the others."""
    storage, allowed = site.storage(rse), schemes_for(site, activities)
    places = endpoints(storage, scope, lfn, *_WRITE_WAYS) if storage else ()
    if not places:
        return [], [LeftOut(_why_no_path(site, rse), rse=rse)]
    fitting: list[Endpoint] = []
    others: list[LeftOut] = []
    for place in places:
        if allowed and scheme_of(place.url) not in allowed:
            others.append(LeftOut(f"the queue's schemes are {', '.join(allowed)}", place.url, rse))
        elif movable is not None and not movable(place.url, " ".join(tools)):
            others.append(LeftOut(f"no copy tool of the queue moves there ({', '.join(tools)})", place.url, rse))
        else:
            fitting.append(place)
    return fitting, others


def no_target(item: OutputFile, found: Places) -> PilotError:
    """Why an output has no place to go, as the error that the job fails with."""
    named = ", ".join(dict.fromkeys(left.rse for left in found.left_out)) or "none"
    reasons = "; ".join(dict.fromkeys(left.why for left in found.left_out))
    if found.left_out and all(left.why == _NO_RULE for left in found.left_out):
        return NonDeterministicStorage(f"nothing tells where output {item.lfn} goes on {named}")
    return NoStorage(f"nothing tells where output {item.lfn} goes (storage {named}{': ' if reasons else ''}{reasons})")
