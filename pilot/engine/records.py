"""The files that a job leaves for others to read: catalogues in, reports out. Each in its field's own form."""

from __future__ import annotations

import contextlib
import html
import json
import os
import shlex
import time
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pilot.core.errors import BadOutputFileName
from pilot.core.job import InputFile, JobDefinition
from pilot.core.update import StoredFile
from pilot.lib.files import local_path

#: What stays of a job's directory when only the records are kept.
RECORDS = frozenset(
    {
        "job.json",
        "pilot.log",
        "payload.stdout",
        "payload.stderr",
        "memory_monitor_summary.json",
        "memory_monitor_output.txt",
        "jobReport.json",
        "OutputFiles.xml",
        "PoolFileCatalog.xml",
        "heartbeat.json",
        "replay.sh",
        "payload_error_report.json",
    }
)
#: A directory that stays whole when only the records are kept.
RECORD_FOLDERS = frozenset({"utilities"})
#: What the payload itself may write or be given; the other records are the pilot's own.
_PAYLOADS_OWN = frozenset({"jobReport.json", "payload_error_report.json"})
_MAX_REPORT_BYTES = 64 * 1024 * 1024


def check_input(file: InputFile) -> None:
    """Raise `BadOutputFileName` for an input that the pilot would write over in the job's directory."""
    if file.lfn in RECORDS - _PAYLOADS_OWN:
        raise BadOutputFileName(f"inFiles: {file.lfn!r} is a file that the pilot writes itself; use another name")


def pool_file_catalog(files: Iterable[tuple[str, str, str]]) -> str:
    """POOL's catalogue (protocol.md 3.4) of `(guid, lfn, pfn)`."""
    rows = "".join(
        f'  <File ID="{html.escape(guid)}">\n'
        f'    <physical>\n      <pfn filetype="ROOT_All" name="{html.escape(pfn)}"/>\n    </physical>\n'
        f'    <logical>\n      <lfn name="{html.escape(lfn)}"/>\n    </logical>\n  </File>\n'
        for guid, lfn, pfn in files
    )
    return (
        '<?xml version="1.0" encoding="UTF-8" standalone="no" ?>\n<!-- Edited By POOL -->\n'
        f'<!DOCTYPE POOLFILECATALOG SYSTEM "InMemory">\n<POOLFILECATALOG>\n{rows}</POOLFILECATALOG>\n'
    )


def output_files_xml(files: Iterable[StoredFile], datasets: Mapping[str, str]) -> str:
    """NorduGrid's OutputFiles.xml (protocol.md 3.4); `datasets` maps LFN to dataset."""
    date = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
    rows = []
    for file in files:
        values = {
            "guid": file.guid,
            "lfn": file.lfn,
            "surl": file.surl,
            "size": str(file.size),
            "ad32": file.checksums.get("adler32", ""),
            "dataset": datasets.get(file.lfn, ""),
            "date": date,
        }
        inner = "".join(f"    <{name}>{html.escape(value)}</{name}>\n" for name, value in values.items())
        rows.append(f"  <file>\n{inner}  </file>\n")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<outfiles>\n{"".join(rows)}</outfiles>\n'


def read_json_object(path: Path) -> dict[str, Any] | None:
    """A JSON object that the payload may have written; None if there is none that can be read."""
    with contextlib.suppress(OSError, ValueError, RecursionError):
        if path.stat().st_size <= _MAX_REPORT_BYTES:
            found = json.loads(path.read_bytes())
            return found if isinstance(found, dict) else None
    return None


def events_of(report: Mapping[str, Any]) -> int | None:
    """The number of events that a jobReport.json tells: its own `nEvents`, the resource summary's, or its files'."""
    for value in (report.get("nEvents"), _dig(report, "resource", "transform", "nEvents")):
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return value
    inputs = _dig(report, "files", "input")
    numbers = []
    for entry in inputs if isinstance(inputs, list) else []:
        for sub in entry.get("subFiles", []) if isinstance(entry, dict) else []:
            number = sub.get("nentries") if isinstance(sub, dict) else None
            if isinstance(number, int) and not isinstance(number, bool):
                numbers.append(number)
    return sum(numbers) if numbers else None


def guids_of(report: Mapping[str, Any]) -> dict[str, str]:
    """GUIDs that the payload gave its outputs: `files.output[].subFiles[].{name,file_guid}`."""
    found: dict[str, str] = {}
    outputs = _dig(report, "files", "output")
    for entry in outputs if isinstance(outputs, list) else []:
        for sub in entry.get("subFiles", []) if isinstance(entry, dict) else []:
            if isinstance(sub, dict) and isinstance(sub.get("name"), str) and isinstance(sub.get("file_guid"), str):
                found[sub["name"]] = sub["file_guid"]
    return found


def payload_error_of(
    report: Mapping[str, Any] | None, error_report: Mapping[str, Any] | None
) -> tuple[int, str] | None:
    """What the payload says went wrong: `payload_error_report.json` first, else jobReport's exitCode and exitMsg."""
    for source, code_key, text_key in (
        (error_report, "error_code", "error_diag"),
        (report, "exitCode", "exitMsg"),
    ):
        code = source.get(code_key) if source else None
        if source and isinstance(code, int) and not isinstance(code, bool) and code != 0:
            return code, str(source.get(text_key) or "")
    return None


def replay_script(
    definition: JobDefinition, argv: Iterable[str], env: Mapping[str, str], sources: Mapping[str, str]
) -> str:
    """A script that runs the payload again, as the pilot did; inputs that are not there any more are fetched again.

    `sources` maps the path of each input to the URL that it was staged in from.
    """
    fetch = "".join(_fetch_again(os.path.basename(path), url) for path, url in sorted(sources.items()))
    exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in sorted(env.items()))
    return (
        "#!/bin/bash\n"
        f"# Runs the payload of job {definition.job_id} (attempt {definition.attempt}) again, without the pilot.\n"
        "# usage: replay.sh [DIRECTORY]   the directory that holds the inputs; default: where this script lies\n"
        'cd "${1:-$(dirname "$(readlink -f "$0")")}" || exit 2\n'
        f"{fetch}{exports}exec {shlex.join(argv)}\n"
    )


def _fetch_again(name: str, url: str) -> str:
    """A line that brings one input if it is missing: by cp from this machine, else told where it comes from."""
    path = local_path(url)
    if path is not None:
        return f"[ -e {shlex.quote(name)} ] || cp -- {shlex.quote(path)} {shlex.quote(name)} || exit 2\n"
    words = shlex.quote(f"replay: fetch the input {name} from {url} first")
    return f"[ -e {shlex.quote(name)} ] || {{ echo {words} >&2; exit 2; }}\n"


def new_guid() -> str:
    """A GUID in the field's form: upper case, with dashes."""
    return str(uuid.uuid4()).upper()


def _dig(value: Any, *path: str) -> Any:
    for name in path:
        if not isinstance(value, Mapping):
            return None
        value = value.get(name)
    return value
