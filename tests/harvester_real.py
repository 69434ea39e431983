"""Harvester's own messenger in the place of the stand-in, where its package is at hand.

PILOT_HARVESTER names the folder that has `pandaharvester` and what it needs. Files have Harvester's default names.
"""

from __future__ import annotations

import copy
import importlib
import os
import sys
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from pilot.plugins.sources.harvester_names import MapType, Names
from tests.harvester_standin import Harvester

PLACE = os.environ.get("PILOT_HARVESTER", "")
KINDS = ["stand-in", *(["real"] if PLACE else [])]

#: What Harvester expects in every description that a server gives it.
_USUAL = {
    "taskID": 1, "jobsetID": 2, "currentPriority": 900, "inFiles": "", "GUID": "", "fsize": "", "checksum": "",
    "scopeIn": "", "realDatasetsIn": "", "ddmEndPointIn": "", "logGUID": "G-log", "prodDBlockTokenForOutput": "",
}  # fmt: skip


def usual(job: dict[str, Any]) -> dict[str, Any]:
    """The description with everything that a server's has."""
    outputs, inputs = (len(str(job.get(key, "")).split(",")) for key in ("outFiles", "inFiles"))
    lists = {"realDatasets": ",".join(["ds"] * outputs), "ddmEndPointOut": ",".join(["RSE"] * outputs)}
    lists |= {key: "," * (inputs - 1) for key in ("GUID", "fsize", "checksum", "realDatasetsIn", "ddmEndPointIn")}
    return {**_USUAL, **lists, **job}


def harvester(kind: str, ap: Path, map_type: MapType = MapType.ONE, slow_s: float = 0.02) -> Harvester:
    """One of a kind over an access point of its own."""
    if kind == "real":
        return RealHarvester(ap, map_type, slow_s)
    return Harvester(ap, many=map_type is MapType.MANY, slow_s=slow_s)


class RealHarvester(Harvester):
    """Looks at a worker as Harvester's monitor does, with Harvester's messenger."""

    def __init__(self, access_point: Path, map_type: MapType, slow_s: float) -> None:
        super().__init__(access_point, many=map_type is MapType.MANY, slow_s=slow_s)
        load = _package()
        self._core = load("harvestercore.core_utils")
        self._job_spec = load("harvestercore.job_spec").JobSpec
        work_spec = load("harvestercore.work_spec").WorkSpec
        self.messenger = load("harvestermessenger.shared_file_messenger").SharedFileMessenger()
        self.worker = work_spec()
        self.worker.workerID, self.worker.mapType, self.worker.accessPoint = 4, str(map_type), str(access_point)
        self.worker.pandaid_list, self.worker.eventsRequest = [], work_spec.EV_useEvents
        self.worker.status = work_spec.ST_running
        self.specs: list[Any] = []
        self.state: dict[int, str] = {}

    def feed(self, jobs: list[dict[str, Any]]) -> None:
        fresh = []
        for job in jobs:
            spec = self._job_spec()
            spec.convert_job_json(usual(job))
            fresh.append(spec)
        self.specs += fresh
        known = self.specs if self.many else fresh  # a worker has one job there; this one may have one after the other
        self.worker.pandaid_list = [spec.PandaID for spec in known]
        self.worker.jobspec_list = fresh
        assert self.messenger.setup_access_points([self.worker]) and self.messenger.feed_jobs(self.worker, fresh)

    def see_job_request(self) -> None:
        if count := self.messenger.job_requested(self.worker):
            self.asked.append({"nJobs": count})
            jobs, self.jobs = self.jobs[:count], self.jobs[count:]
            if jobs:
                self.feed(jobs)

    def see_event_request(self) -> None:
        if wishes := self.messenger.events_requested(self.worker):
            self.asked.append(wishes)
            assert self.messenger.feed_events(self.worker, {key: self.deal(wish) for key, wish in wishes.items()})

    def cycle(self) -> None:
        self.see_job_request()
        attributes = self.messenger.get_work_attributes(self.worker)
        files = self.messenger.get_files_to_stage_out(self.worker)
        events = self.messenger.events_to_update(self.worker)
        self.see_event_request()
        for number, found in attributes.items():
            self.note(number, {key: value for key, value in found.items() if key != "metaData"})
        if files:
            listed = {str(key): [e for es in lfns.values() for e in es] for key, lfns in files.items()}
            self.dumps.append((time.time(), listed))
        self.updates += [entry for entries in events.values() for entry in entries]
        self.worker.set_work_attributes(copy.deepcopy(attributes))
        if self.specs:
            every = ([self.worker], {4: files} if files else {}, [events] if events else [])
            self._core.update_job_attributes_with_workers(self.worker.mapType, self.specs, *every)
        self.state = {spec.PandaID: spec.status for spec in self.specs}
        if files or events:
            self.messenger.acknowledge_events_files(self.worker)
        self.faults += getattr(self._core, "errors", [])


def _package() -> Any:
    """Loads modules of Harvester, over a configuration with its defaults."""
    if PLACE not in sys.path:
        sys.path.append(PLACE)
    name = "pandaharvester.harvesterconfig.harvester_config"
    if name not in sys.modules:
        names = Names()
        config: Any = ModuleType(name)
        config.payload_interaction = SimpleNamespace(
            workerAttributesFile=names.attributes, jobReportFile=names.job_report, eventStatusDumpJsonFile=names.dump,
            eventStatusDumpXmlFile="_event_status.dump", jobRequestFile=names.job_request, jobSpecFile=names.job_spec,
            eventRequestFile=names.event_request, eventRangesFile=names.event_ranges, pandaIDsFile=names.panda_ids,
            updateEventsFile=names.event_updates, xmlPoolCatalogFile=names.catalogue, killWorkerFile=names.kill,
            heartbeatFile=names.heartbeat,
        )  # fmt: skip
        config.frontend = SimpleNamespace(type="apache", verbose=False, authEnable=True, nThreads=2, portNumber=0)
        config.master = SimpleNamespace(harvester_id="test")
        sys.modules[name] = config
        importlib.import_module("pandaharvester.harvesterconfig").harvester_config = config  # type: ignore[attr-defined]
    return lambda module: importlib.import_module(f"pandaharvester.{module}")
