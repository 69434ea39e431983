"""What is known of the queue: the information service if any place is named, else a queue of this machine's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click
import msgspec

from pilot.cli import harvester
from pilot.cli.experiment import section
from pilot.cli.info import Info
from pilot.core.errors import QueuedataNotOk
from pilot.core.job import JobDefinition
from pilot.core.queue import QueueData
from pilot.core.settings import Settings
from pilot.core.storage import Access, StagingSite, Storage
from pilot.runtime.containment import ANY_RUNTIME

if TYPE_CHECKING:
    from pilot.staging.sitemap import SiteMap

Where = tuple[str, str]
Queues = Callable[[JobDefinition], QueueData]
Sites = Callable[[JobDefinition], StagingSite]


class Known(NamedTuple):
    """The queue and its storages as a job sees them.

    `label` is what the queue's status demands of jobs ("" for nothing), `time_floor_s` after how long its pilots
    take no further job (0: no such limit). With `is_own` no place of queue data was named: the queue is one of this
    machine's own.
    """

    queue_for: Queues
    site_for: Sites
    label: str = ""
    time_floor_s: int = 0
    is_own: bool = False


#: The words of a queue's catch-all about staging sites.
_STAGING, _BYPASS = "staging_site", "bypass_staging"
#: The storage of pilots whose queue has none.
_LOCAL = "LOCAL"
_CVMFS = "atlas.cern.ch/repo/sw/local/etc"


def queue_of(
    settings: Settings, workdir: Path, environ: Mapping[str, str], info: Info | None = None, cached: bool = True
) -> Known:
    """What is known of the settings' queue; `info` is what the user's files say of that. What was fetched is kept in
    the work directory if it is to be `cached`.

    Raises `PilotError` with the exit codes 71, 72, 78 or 83 for a queue that cannot be used.
    """
    info = info or Info()
    places = _places(settings, workdir, environ, info)
    if not places["main"]:
        own = _own_queue(settings.queue, info.overlay)
        site = _completed(StagingSite(settings.queue, settings.queue), settings, workdir, own)
        return Known(lambda job: own, lambda job: site, is_own=True)
    from pilot.info.places import Place
    from pilot.info.service import InfoService, InfoSettings, check_usable
    from pilot.lib.http import HttpSettings

    service = InfoService(
        InfoSettings(
            queue=settings.queue,
            **{what: tuple(Place(name, where) for name, where in found) for what, found in places.items()},
            cache_dir=str(workdir / ".cache") if cached else "",
            fresh_s=info.cache_s,
            local_s=info.local_s,
            rounds=info.rounds,
            pause_s=settings.info_pause,
            overlay=info.overlay,
            http=HttpSettings(
                connect_s=min(10.0, info.fetch_s), silence_s=min(20.0, info.fetch_s), total_s=info.fetch_s
            ),
        )
    )
    service.load()
    label = check_usable(service.queue())
    floor_s = service.queue().time_floor_s

    def site_for(job: JobDefinition) -> StagingSite:
        queue = service.queue(job)
        return _completed(service.site(job, _staging_sites(settings, queue)), settings, workdir, queue, job)

    _staging_sites(settings, service.queue())
    return Known(service.queue, site_for, label, floor_s)


def _staging_map(settings: Settings, queue: QueueData) -> SiteMap:
    """Which staging sites serve which sites, as the command line has it, or else the queue's catch-all."""
    from pilot.staging.sitemap import parse_map

    text = settings.staging_site or queue.flags.get(_STAGING, "")
    try:
        return parse_map(text)
    except ValueError as error:
        if settings.staging_site:
            raise click.UsageError(f"--staging-site: {error}") from error
        raise QueuedataNotOk(f"{_STAGING} in the catch-all of queue {queue.name}: {error}") from error


def _staging_sites(settings: Settings, queue: QueueData) -> tuple[str, ...]:
    from pilot.staging.sitemap import staging_sites

    return staging_sites(_staging_map(settings, queue), queue.site)


def _own_queue(name: str, overlay: Mapping[str, Any]) -> QueueData:
    """The queue of a pilot that nobody tells of one, as the user's files would have it."""
    own = QueueData(name, name, name, job_maxwalltime=True)
    if overlay:
        from pilot.info.read_queue import merge, read_queue

        own = read_queue(merge({}, {"nickname": name, "params": {"job_maxwalltime": True}}, overlay), name)
    return msgspec.structs.replace(own, containers={"pilot": ANY_RUNTIME, **own.containers})


def _places(settings: Settings, workdir: Path, environ: Mapping[str, str], info: Info) -> dict[str, list[Where]]:
    """Where queue and storage data lie, in the order of preference: named, the user's, local files, CVMFS.

    `main` is the record of the queue, `details` what completes it (protocol.md 7.4).
    """
    main = [("named", settings.queuedata_url)] if settings.queuedata_url else []
    storages = [("named", settings.storagedata_url)] if settings.storagedata_url else []
    main += [(place.name, place.where) for place in info.main]
    details = [(place.name, place.where) for place in info.details]
    storages += [(place.name, place.where) for place in info.storages]
    homes = [workdir, Path.cwd()] + [Path(p) for p in (environ.get("PILOT_HOME", ""),) if p]
    homes += harvester.shared_places(settings)
    cvmfs = Path(environ.get("ATLAS_SW_BASE") or "/cvmfs") / _CVMFS
    for folder, kind in [*((home, "LOCAL") for home in homes), (cvmfs, "CVMFS")]:
        main += _present(folder, kind, "queuedata.json", "cric_pandaqueues.json", "agis_schedconf.json")
        details += _present(folder, kind, "cric_pandaqueues.json")
        storages += _present(folder, kind, "cric_ddmendpoints.json", "agis_ddmendpoints.json")
    known = {} if harvester.works_by_files(settings) else _of_experiment(settings.experiment)
    places = {"main": main, "details": details, "storages": storages}
    for what, found in places.items():
        found += [place for place in known.get(what, []) if place not in found]
    return places


def _of_experiment(name: str) -> dict[str, list[Where]]:
    """The places that an experiment's file names; none for an experiment without one."""
    info = section(name, "info")
    return {what: [(place["name"], place["where"]) for place in places] for what, places in info.items()}


def _present(folder: Path, kind: str, *names: str) -> list[Where]:
    return [(kind, str(folder / name)) for name in names if (folder / name).is_file()]


def _completed(
    site: StagingSite, settings: Settings, workdir: Path, queue: QueueData, job: JobDefinition | None = None
) -> StagingSite:
    """With the directories that the command line names, and a storage of the pilot's own where there is no other."""
    local = Storage(_LOCAL, accesses=(Access(f"file://{_place(settings.local_storage) or f'{workdir}/storage'}/"),))
    named = [*(f.rse for f in job.inputs), *(f.rse for f in job.all_outputs)] if job else []
    writes = bool(site.storages_for("write_lan", "w", "pw"))
    own = {} if writes or any(site.storage(rse) for rse in named) else {"write_lan": (_LOCAL,), "read_lan": (_LOCAL,)}
    return msgspec.structs.replace(
        site,
        storages=(*site.storages, *(() if writes else (local,))),
        astorages={**own, **site.astorages},
        copytools=site.copytools or {"pr": (settings.stage_in_mode, "auto")},
        input_dir=_place(settings.input_dir),
        output_dir=_place(settings.output_dir),
        last_resort="" if writes else _LOCAL,
        staging_map=_staging_map(settings, queue),
        bypass_staging=settings.bypass_staging or queue.has(_BYPASS),
    )


def _place(named: str) -> str:
    """A directory as the command line names it: a URL, or a path, which is made absolute."""
    return named if not named or "://" in named else str(Path(named).absolute())
