"""One worker's part of a jumbo job: many workers share the job, its event ranges are dealt out among them. Pure.

Harvester keeps the job's state itself, from how its workers end, and adds up their outputs (protocol.md 4.6, 5.1).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: Lists with one entry for each name in `outFiles`; `scopeOut` leaves the log out.
_PARALLEL = (
    *("realDatasets", "destinationDblock", "destinationDBlockToken", "fileDestinationSE", "ddmEndPointOut"),
    "dispatchDBlockTokenForOut",
)


def part_of(job: Mapping[str, Any], worker: str) -> dict[str, Any]:
    """The description as one worker has to understand it.

    There are no outputs but those of its ranges, and its log, which gets the worker's name as Harvester gives it to the
    logs that it makes itself. The inputs are a whole dataset: those that the worker's ranges need are fetched as they
    come. What is not an event service job stays as it is.
    """
    if str(job.get("eventService")) != "True":
        return dict(job)
    log = str(job.get("logFile") or "")
    names = [name.strip() for name in str(job.get("outFiles") or "").split(",")]
    part: dict[str, Any] = {**job, "jumbo": "True", "usePrefetcher": "True", "scopeOut": "", "allowNoOutput": ""}
    part["logFile"] = part["outFiles"] = f"{log}._{worker}" if log else ""
    for key in _PARALLEL:
        values = [value.strip() for value in str(job.get(key) or "").split(",")]
        part[key] = values[names.index(log)] if log in names and len(values) == len(names) else ""
    return part
