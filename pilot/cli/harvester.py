"""A worker of Harvester: when this pilot is one, where it meets Harvester, and where its files go."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import msgspec

from pilot.core.job import JobDefinition
from pilot.core.settings import Settings
from pilot.core.storage import StagingSite
from pilot.core.update import Node
from pilot.engine.means import CHORES, Means
from pilot.plugins.sources.base import Source

_log = logging.getLogger("pilot.harvester")
#: Harvester counts in minutes and may allow one: a beat that comes late or is seen late is not the last.
_BEAT_S = 20.0


def as_worker(settings: Settings, chosen: bool) -> Settings:
    """The settings with `harvester` for the source where wrappers mean that without saying so (protocol.md 5.6).

    `chosen`: the source was named; then nothing is guessed.
    """
    named = any(
        (
            settings.harvester_workdir,
            settings.harvester_datadir,
            settings.harvester_eventstatusdump,
            settings.harvester_workerattributes,
        )
    )
    pushed = settings.harvester_id and settings.worker_id and settings.harvester_submit_mode == "PUSH"
    if not chosen and settings.source == "panda" and ((named and not settings.server_updates) or pushed):
        return replace(settings, source="harvester")
    return settings


def access_point(settings: Settings) -> Path:
    """The directory that is shared with Harvester: as named, else that of a file that is named, else the present."""
    named = settings.harvester_workdir
    for path in (settings.harvester_workerattributes, settings.harvester_eventstatusdump):
        named = named or ("/" in path and path.rpartition("/")[0]) or ""
    return Path(named or ".").absolute()


def tells_server(settings: Settings) -> bool:
    """Whether a worker speaks with the job server itself; the state of a jumbo job is Harvester's alone."""
    return (
        settings.source == "harvester"
        and bool(settings.url)
        and settings.harvester_map != "OneToMany"
        and (settings.server_updates or settings.harvester_map == "NoJob")
    )


def works_by_files(settings: Settings) -> bool:
    """Whether a worker has nobody but Harvester to ask: nothing that it needs may lie beyond the network."""
    return settings.source == "harvester" and not tells_server(settings)


def shared_places(settings: Settings) -> list[Path]:
    """Where Harvester, or the batch script that it submits, leaves files for a worker besides jobs."""
    if settings.source != "harvester":
        return []
    place = access_point(settings)
    data = [Path(settings.harvester_datadir).absolute()] if settings.harvester_datadir else []
    return [place, *([place.parent] if place.name.isdigit() else []), *data]


def make_source(settings: Settings, node: Node, teller: Callable[[], Source]) -> Source:
    """The source. `teller` makes the job server that hears of jobs directly; it is asked for where there is one."""
    from pilot.plugins.sources.harvester_settings import HarvesterSettings
    from pilot.plugins.sources.registry import SOURCES

    kind: Any = SOURCES.load("harvester")
    direct = settings.harvester_map == "NoJob"
    if direct and not settings.url:
        raise click.UsageError("--harvester-map NoJob gets jobs from the job server: --url is missing")
    own = HarvesterSettings(
        node=node,
        push=settings.harvester_submit_mode == "PUSH",
        patience_s=settings.harvester_patience,
        ask_kill=settings.harvester_kill,
        jobs=settings.jobs or (1 if settings.harvester_map in ("OneToOne", "OneToMany") else 0),
        direct=direct,
        jumbo=settings.harvester_map == "OneToMany",
        worker=_name(settings, os.environ),
    )
    found: Source = kind(_box(settings), own, teller() if tells_server(settings) else None)
    return found


def _name(settings: Settings, environ: Mapping[str, str]) -> str:
    """What tells this worker from others of the same job; where a worker has a pilot on each node, the pilots too."""
    name = settings.worker_id or access_point(settings).name
    many = environ.get("SLURM_STEP_NUM_NODES", "1") != "1"
    return f"{name}.{environ.get('SLURM_NODEID', '')}" if many else name


def _box(settings: Settings) -> Any:
    from pilot.plugins.sources.harvester_box import FileBox
    from pilot.plugins.sources.harvester_http import HttpBox, HttpBoxSettings
    from pilot.plugins.sources.harvester_names import MapType, parse_names

    try:
        names = parse_names(
            settings.harvester_files, settings.harvester_workerattributes, settings.harvester_eventstatusdump
        )
        if settings.harvester_url:
            token = Path(settings.harvester_token).read_text().strip() if settings.harvester_token else ""
            number = int(settings.worker_id or 0)
            return HttpBox(HttpBoxSettings(settings.harvester_url, number, token, settings.cacert))
    except (ValueError, OSError) as error:
        raise click.UsageError(f"Harvester: {error}") from error
    data = Path(settings.harvester_datadir).absolute() if settings.harvester_datadir else None
    return FileBox(access_point(settings), names, MapType(settings.harvester_map), data)


def sites(
    settings: Settings, site_for: Callable[[JobDefinition], StagingSite]
) -> Callable[[JobDefinition], StagingSite]:
    """A worker's inputs come from the access point and its outputs go there, unless directories are named for them."""
    if settings.source != "harvester" or settings.harvester_map == "NoJob":
        return site_for
    top = access_point(settings)
    many = settings.harvester_map == "ManyToOne"

    def site(definition: JobDefinition) -> StagingSite:
        place = str(top / str(definition.job_id) if many else top)
        known = site_for(definition)
        return msgspec.structs.replace(known, input_dir=known.input_dir or place, output_dir=known.output_dir or place)

    return site


def keep_beating(means: Means) -> None:
    """Write the heartbeat file now and three times a minute; a file system that hangs delays nothing but the beat."""
    source: Any = means.source

    def beat() -> None:
        means.staging.submit(CHORES, source.beat, lambda result, error: None)
        means.loop.after(_BEAT_S, beat)

    beat()
