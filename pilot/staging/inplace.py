"""Inputs that nobody brings: a job reads them where they lie, by the URL in its catalogue (protocol.md 8.2)."""

from __future__ import annotations

import msgspec

from pilot.core.errors import NoStorage
from pilot.core.job import InputFile, JobDefinition
from pilot.core.storage import StagingSite
from pilot.core.transfer import Endpoint
from pilot.staging.plan import local_name, sources_of
from pilot.staging.replicas import Replica, order_replicas, reads_in_place


def split_in_place(definition: JobDefinition, site: StagingSite) -> tuple[JobDefinition, dict[str, Endpoint]]:
    """The job with those inputs alone that are to be fetched, and by LFN where the others are read.

    An input that no place of the queue lets be read from afar is fetched like any other; so are archives, and the
    inputs of events, which have a way of their own.
    """
    if definition.event_service or definition.event_merge:
        return definition, {}
    places: dict[str, Endpoint] = {}
    for item in definition.inputs:
        if not item.archive and reads_in_place(definition, item, site) and (place := _place(item, site)) is not None:
            places[item.lfn] = place
    fetched = tuple(item for item in definition.inputs if item.lfn not in places)
    return msgspec.structs.replace(definition, inputs=fetched), places


def _place(item: InputFile, site: StagingSite) -> Endpoint | None:
    """The best place to read a file from; None where there is none that may be used."""
    try:
        known = sources_of(item, local_name(item), site)
    except NoStorage:
        return None
    replicas = [Replica(place.url, place.rse) for place in known]
    return next(iter(order_replicas(replicas, site, in_place=True)), None)
