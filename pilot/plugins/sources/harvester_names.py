"""The files between a worker and Harvester: names are configuration, the defaults Harvester's own (5.2). Pure."""

from __future__ import annotations

import difflib
from enum import StrEnum

import msgspec


class MapType(StrEnum):
    """How jobs and workers go together. With MANY each job has a sub-directory of the access point; with NONE workers
    get their jobs from the job server, with JUMBO they share one."""

    NONE = "NoJob"
    ONE = "OneToOne"
    MANY = "ManyToOne"
    JUMBO = "OneToMany"


class Names(msgspec.Struct, frozen=True):
    """The name of each file. `job_spec` is looked for under its name, then under the name that older set-ups use."""

    attributes: str = "worker_attributes.json"
    job_report: str = "jobReport.json"
    dump: str = "event_status.dump.json"
    job_request: str = "worker_requestjob.json"
    job_spec: str = "HPCJobs.json"
    event_request: str = "worker_requestevents.json"
    event_ranges: str = "JobsEventRanges.json"
    event_updates: str = "worker_updateevents.json"
    catalogue: str = "PoolFileCatalog_H.xml"
    panda_ids: str = "worker_pandaids.json"
    kill: str = "kill_worker.json"
    heartbeat: str = "worker_heartbeat.json"


OLD_JOB_SPEC = "pandaJobData.out"

#: Harvester's words for them: the keys of its configuration, and those of a queue's messenger section.
_WORDS = {
    "workerAttributesFile": "attributes",
    "jsonAttrsFileName": "attributes",
    "jobReportFile": "job_report",
    "jsonJobReport": "job_report",
    "eventStatusDumpJsonFile": "dump",
    "jsonOutputsFileName": "dump",
    "jobRequestFile": "job_request",
    "jsonJobRequestFileName": "job_request",
    "jobSpecFile": "job_spec",
    "jobSpecFileName": "job_spec",
    "eventRequestFile": "event_request",
    "jsonEventsRequestFileName": "event_request",
    "eventRangesFile": "event_ranges",
    "jsonEventsFeedFileName": "event_ranges",
    "updateEventsFile": "event_updates",
    "jsonEventsUpdateFileName": "event_updates",
    "xmlPoolCatalogFile": "catalogue",
    "xmlPoolCatalogFileName": "catalogue",
    "pandaIDsFile": "panda_ids",
    "killWorkerFile": "kill",
    "heartbeatFile": "heartbeat",
}


def parse_names(text: str, attributes: str = "", dump: str = "") -> Names:
    """Names from `key=name,key=name` in Harvester's words, and from the two options that name a file each.

    Raises ValueError, naming the nearest known word.
    """
    chosen: dict[str, str] = {}
    for piece in filter(None, (piece.strip() for piece in text.split(","))):
        word, equals, name = (part.strip() for part in piece.partition("="))
        if word not in _WORDS:
            near = difflib.get_close_matches(word, _WORDS, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(_WORDS)}"
            raise ValueError(f"Harvester has no file {word!r}; {hint}")
        if not equals or not name or "/" in name:
            raise ValueError(f"{word} needs the name of a file in the access point, not {name!r}")
        chosen[_WORDS[word]] = name
    for role, path in (("attributes", attributes), ("dump", dump)):
        if path:
            chosen[role] = path.rstrip("/").rpartition("/")[2]
    return Names(**chosen)
