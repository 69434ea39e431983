"""What is known of the queue: the information service if any place is named, else a queue of this machine's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

from pilot.core.job import JobDefinition
from pilot.core.queue import QueueData
from pilot.core.settings import Settings
from pilot.core.storage import Access, StagingSite, Storage

Queues = Callable[[JobDefinition], QueueData]
Sites = Callable[[JobDefinition], StagingSite]


class Known(NamedTuple):
    """The queue and its storages as a job sees them.

    `label` is what the queue's status demands of jobs ("" for nothing), `time_floor_s` after how long its pilots
    take no further job (0: no such limit).
    """

    queue_for: Queues
    site_for: Sites
    label: str = ""
    time_floor_s: int = 0


_CVMFS = "atlas.cern.ch/repo/sw/local/etc"


def queue_of(settings: Settings, workdir: Path, environ: Mapping[str, str]) -> Known:
    """What is known of the settings' queue.

    Raises `PilotError` with the exit codes 71, 72, 78 or 83 for a queue that cannot be used.
    """
    main, storages = _places(settings, workdir, environ)
    if not main:
        own = QueueData(settings.queue, settings.queue, settings.queue, job_maxwalltime=True)
        site = _completed(StagingSite(settings.queue, settings.queue), settings, workdir)
        return Known(lambda job: own, lambda job: site)
    from pilot.info.places import Place
    from pilot.info.service import InfoService, InfoSettings, check_usable

    service = InfoService(
        InfoSettings(
            queue=settings.queue,
            main=tuple(Place(name, where) for name, where in main),
            storages=tuple(Place(name, where) for name, where in storages),
            cache_dir=str(workdir / ".cache"),
            pause_s=settings.info_pause,
        )
    )
    service.load()
    label = check_usable(service.queue())
    floor_s = service.queue().time_floor_s
    return Known(service.queue, lambda job: _completed(service.site(job), settings, workdir), label, floor_s)


def _places(
    settings: Settings, workdir: Path, environ: Mapping[str, str]
) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Where queue and storage data lie, in the order of preference: named, local files, CVMFS."""
    main = [("named", settings.queuedata_url)] if settings.queuedata_url else []
    storages = [("named", settings.storagedata_url)] if settings.storagedata_url else []
    homes = [workdir, Path.cwd()] + [Path(p) for p in (environ.get("PILOT_HOME", ""),) if p]
    cvmfs = Path(environ.get("ATLAS_SW_BASE") or "/cvmfs") / _CVMFS
    for folder, kind in [*((home, "LOCAL") for home in homes), (cvmfs, "CVMFS")]:
        main += _present(folder, kind, "queuedata.json", "cric_pandaqueues.json")
        storages += _present(folder, kind, "cric_ddmendpoints.json")
    known = _of_experiment(settings.experiment)
    main += [place for place in known.get("main", []) if place not in main]
    storages += [place for place in known.get("storages", []) if place not in storages]
    return main, storages


def _of_experiment(name: str) -> dict[str, list[tuple[str, str]]]:
    """The places that an experiment's file names; none for an experiment without one."""
    import tomllib

    from pilot.lib import datafiles

    if name not in datafiles.names("experiments", ".toml"):
        return {}
    info = tomllib.loads(datafiles.text(f"experiments/{name}.toml")).get("info", {})
    return {what: [(place["name"], place["where"]) for place in places] for what, places in info.items()}


def _present(folder: Path, kind: str, *names: str) -> list[tuple[str, str]]:
    return [(kind, str(folder / name)) for name in names if (folder / name).is_file()]


def _completed(site: StagingSite, settings: Settings, workdir: Path) -> StagingSite:
    """With the directories that the command line names, and a storage of the pilot's own where there is no other."""
    local = Storage("LOCAL", accesses=(Access(f"file://{workdir}/storage/"),))
    writes = bool(site.storages_for("write_lan", "w", "pw"))
    own = {} if writes else {"write_lan": ("LOCAL",), "read_lan": ("LOCAL",)}
    return msgspec.structs.replace(
        site,
        storages=(*site.storages, *(() if writes else (local,))),
        astorages={**own, **site.astorages},
        copytools=site.copytools or {"pr": (settings.stage_in_mode, "auto")},
        input_dir=_place(settings.input_dir),
        output_dir=_place(settings.output_dir),
    )


def _place(named: str) -> str:
    """A directory as the command line names it: a URL, or a path, which is made absolute."""
    return named if not named or "://" in named else str(Path(named).absolute())
