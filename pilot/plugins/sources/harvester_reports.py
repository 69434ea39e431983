"""What Harvester is told of a job: its attributes with the types that the server demands, and its outputs. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from pilot.core.update import JobUpdate, Node, StoredFile
from pilot.lib.files import local_path
from pilot.plugins.sources.classic_messages import RENAMED
from pilot.plugins.sources.v1_messages import update_message

#: What Harvester does not pass on: it makes the output report itself, and it knows these from elsewhere.
_LEFT_OUT = frozenset(
    {
        "job_id",
        "job_status",
        "job_output_report",
        "meta_data",
        "mean_core_count",
        "cpu_architecture_level",
        "corrupted_files",
        "grid",
        "source_site",
        "destination_site",
        "job_sub_status",
    }
)


def attributes(update: JobUpdate, node: Node) -> dict[str, Any]:
    """`worker_attributes.json` (protocol.md 5.4): values go to the v1 dialect unchanged, so they have its types."""
    told = msgspec.structs.asdict(update_message(update, node))
    passed = {
        RENAMED.get(name, name): value for name, value in told.items() if name not in _LEFT_OUT and value is not None
    }
    passed.setdefault("transExitCode", 0)
    passed.setdefault("pilotErrorCode", 0)
    return {"jobStatus": str(update.state), **passed}


def dump_entries(files: Iterable[StoredFile]) -> list[dict[str, Any]]:
    """The job's part of the output dump: the files that lie where Harvester can see them."""
    return [entry for entry in map(_entry, files) if entry]


def _entry(file: StoredFile) -> dict[str, Any] | None:
    path = local_path(file.surl)
    if path is None:
        return None
    kind = "log" if _is_log(file.lfn) else "output"
    entry: dict[str, Any] = {"path": path, "type": kind, "fsize": int(file.size), "guid": file.guid}
    if adler := file.checksums.get("adler32"):
        entry["chksum"] = adler
    return entry


def _is_log(lfn: str) -> bool:
    return lfn.endswith((".log.tgz", ".log.tar.gz", ".job.log.tgz")) or ".log.tgz" in lfn
