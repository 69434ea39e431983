"""Inputs that a job reads where they lie instead of having them copied (protocol.md 8.2): which, from where. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

from pilot.core.job import InputFile, JobDefinition
from pilot.core.storage import StagingSite
from pilot.core.transfer import Endpoint
from pilot.lib.files import local_path
from pilot.lib.urls import scheme_of
from pilot.staging.replicas import READ_LAN, READ_WAN, Resolved, near_storages, order_replicas, reads_in_place


def plan_in_place(
    definition: JobDefinition,
    site: StagingSite,
    sources: Mapping[str, Sequence[Endpoint]],
    found: Mapping[str, Resolved] | None = None,
    speeds: Mapping[str, float] | None = None,
    activities: Sequence[str] = ("read_lan", "pr"),
) -> dict[str, tuple[Endpoint, ...]]:
    """The places from which inputs may be read directly, by LFN, the best first; inputs that are copied are left out.

    `sources` are the places that a copy would come from, by LFN: they serve where no catalogue told of replicas.
    A place that a shell would take apart is not used, since it comes to stand in the payload's command line.
    """
    planned: dict[str, tuple[Endpoint, ...]] = {}
    for item in definition.inputs:
        if not reads_in_place(definition, item, site):
            continue
        told = (found or {}).get(f"{item.scope}:{item.lfn}")
        if told is not None and told.replicas:
            places = order_replicas(told.replicas, site, activities, True, speeds, item).taken
        else:
            places = tuple(place for place in sources.get(item.lfn, ()) if _is_readable(place, item, site, activities))
        if usable := tuple(place for place in places if _is_one_word(place.url)):
            planned[item.lfn] = usable
    return planned


def _is_one_word(url: str) -> bool:
    """Whether a shell takes what the payload is told of a place, a path of this machine or the URL, as it stands."""
    word = local_path(url) or url
    return shlex.quote(word) == word


def may_be_bound(url: str) -> bool:
    """Whether the payload can read a place from within a container: a file of this machine has to be bound, which no
    runtime does for paths with its own marks in them."""
    path = local_path(url)
    return path is None or not {":", ","}.intersection(path)


def _is_readable(place: Endpoint, item: InputFile, site: StagingSite, activities: Sequence[str]) -> bool:
    scheme = scheme_of(place.url)
    if scheme == "file" or (place.rse or item.rse) in near_storages(site, activities, item):
        return site.direct_access_lan and scheme in READ_LAN
    return site.direct_access_wan and scheme in READ_WAN
