"""Files of jobs that go through a staging site, or pass it by: by the queue's map and the file's class. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from pilot.core.job import InputFile, OutputFile
from pilot.core.storage import StagingSite, Storage
from pilot.core.transfer import Endpoint
from pilot.lib.files import local_path
from pilot.staging.paths import deterministic_path, url_under
from pilot.staging.sitemap import OutputClass, in_order, input_places, output_places, staging_sites


def endpoints(storage: Storage, scope: str, name: str, *activities: str) -> tuple[Endpoint, ...]:
    """The places of a file on a deterministic storage, by each of its ways for the activities; none on others."""
    if not storage.deterministic:
        return ()
    path = deterministic_path(scope, name)
    return tuple(
        Endpoint(url_under(access.prefix, path), rse=storage.rse, site=storage.site)
        for access in storage.ways(*activities)
    )


def staging_storages(site: StagingSite) -> list[Storage]:
    """The storages of the staging sites that serve this site, in order: a staging site is an RSE, or a site's RSEs."""
    found: list[Storage] = []
    for name in staging_sites(site.staging_map, site.name):
        wanted = name.casefold()
        by_name = [storage for storage in site.storages if storage.rse.casefold() == wanted]
        found += by_name or [storage for storage in site.storages if storage.site.casefold() == wanted]
    return found


def input_route(item: InputFile, name: str, direct: Sequence[Endpoint], site: StagingSite) -> tuple[Endpoint, ...]:
    """Where an input may come from in order: its staging site first, unless it passes that by, and its own places.

    What the job or the command line says to lie on this machine needs no staging site.
    """
    own = tuple(direct)
    storages = staging_storages(site) if site.staging_map else []
    named = item.path or site.input_dir
    if not storages or (named and local_path(named) is not None):
        return own
    staging = tuple(p for s in storages for p in endpoints(s, item.scope, name, "read_lan", "read_wan"))
    return in_order(input_places(staging, own, item.bypass or site.bypass_staging))


def output_route(item: OutputFile, final: Endpoint, site: StagingSite) -> tuple[Endpoint, ...]:
    """Where an output goes by its class, the place that is reported first; to `final` where it has no class.

    A site without staging site keeps everything at `final`.
    """
    if not item.output_class:
        return (final,)
    for storage in staging_storages(site):
        if places := endpoints(storage, item.scope, item.lfn, "write_lan", "write_wan"):
            kind = OutputClass(item.output_class)
            return tuple(reversed(output_places(kind, item.transfer, places[0], final)))
    return (final,)
