"""The adder's judgement of a final report: which files are there, and whether the job stands (protocol.md 3.4).

Pure: no clock and no database.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from pilot.core.lfn import with_whole_patterns
from pilot.server.description import Spec, is_on, items

_UNREADABLE = "Could not get GUID/LFN/MD5/FSIZE/SURL from pilot JSON"
_REGEX = "regex|"
_DDM_ADDER = 200  # the server's own number for a report that could not be accepted


@dataclass(frozen=True)
class FileOutcome:
    """What became of one file: role input/output/log; status ready, skipped, failed, missing or nooutput."""

    lfn: str
    role: str
    status: str
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """The job's end: `finished` or `failed`, and for a refused report why."""

    status: str
    diag: str | None = None
    files: tuple[FileOutcome, ...] = ()

    @property
    def ddm_error_code(self) -> int:
        """The number stored for a refused report, else 0."""
        return _DDM_ADDER if self.diag else 0


class _Refused(Exception):
    """The report breaks a rule; the text says which."""


class _Unreadable(_Refused):
    """The report cannot be used at all; an error that the pilot named itself goes before this one."""


def judge(spec: Spec, state: str, report: str | None, metadata: str | None, facts: Mapping[str, Any]) -> Outcome:
    """The outcome of a job whose pilot said `state` (finished or failed) with this report (JSON text)."""
    try:
        entries = _entries(report)
        files = [_file(spec, lfn, entry) for lfn, entry in entries.items()]
    except _Unreadable as error:
        return Outcome("failed", None if _named_error(facts) else f"{_UNREADABLE} : {error}")
    except _Refused as error:
        return Outcome("failed", str(error))
    missing = _missing(spec, entries)
    files += missing
    files = [_with_events(file, events_by_file(metadata)) for file in files]
    lost = [file.lfn for file in missing if file.status == "missing"]
    if state == "finished" and lost:
        return Outcome("failed", f"expected output {lost[0]} is missing in pilot JSON", tuple(files))
    return Outcome(state, None, tuple(files))


def _named_error(facts: Mapping[str, Any]) -> bool:
    return any(facts.get(key) for key in ("pilot_error_code", "exe_error_code", "trans_exit_code"))


def _entries(report: str | None) -> dict[str, dict[str, Any]]:
    try:
        entries = msgspec.json.decode(report or "", type=dict[str, dict[str, Any]])
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise _Unreadable(str(error)) from error
    if not entries:
        raise _Unreadable("it names no file")
    return entries


def _file(spec: Spec, lfn: str, entry: Mapping[str, Any]) -> FileOutcome:
    if not isinstance(guid := entry.get("guid"), str) or not guid:
        raise _Unreadable(f"{lfn} has no guid")
    if lfn in items(spec.get("inFiles")):
        analysis = spec.get("prodSourceLabel") in ("user", "panda") or is_on(spec, "onSiteMerging")
        return FileOutcome(lfn, "input", "skipped" if analysis else "failed", dict(entry))
    if declared_as(spec, lfn) is None:
        raise _Refused(f"extra file in pilot JSON : {lfn} is neither an input nor an output of the job")
    size = entry.get("fsize")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise _Unreadable(f"{lfn} has fsize {size!r}")
    if not (_is_hex(entry.get("adler32"), 8) or _is_hex(entry.get("md5sum"), 32)):
        raise _Unreadable(f"{lfn} has neither adler32 (8 hex) nor md5sum (32 hex)")
    return FileOutcome(lfn, "log" if lfn == spec.get("logFile") else "output", "ready", dict(entry))


def declared_as(spec: Spec, lfn: str) -> str | None:
    """The entry of outFiles that covers this file: its own name, a `regex|` name, or a variable output's stem."""
    declared = with_whole_patterns(items(spec.get("outFiles")))
    if lfn in declared:
        return lfn
    for name in declared:
        pattern = name.removeprefix(_REGEX) if name.startswith(_REGEX) else re.escape(name) + r"\.?_\d+"
        try:
            if re.fullmatch(pattern, lfn):
                return name
        except re.error:
            continue  # a pattern that cannot be read covers nothing
    return None


def _missing(spec: Spec, entries: Mapping[str, object]) -> list[FileOutcome]:
    covered = {declared_as(spec, lfn) for lfn in entries}
    optional = set(items(spec.get("allowNoOutput")))
    event_job = is_on(spec, "eventService")
    found = []
    for lfn in with_whole_patterns(items(spec.get("outFiles"))):
        if lfn not in covered:
            status = "nooutput" if lfn in optional or event_job else "missing"
            found.append(FileOutcome(lfn, "log" if lfn == spec.get("logFile") else "output", status))
    return found


def _is_hex(value: object, length: int) -> bool:
    return isinstance(value, str) and re.fullmatch(rf"[0-9a-fA-F]{{{length}}}", value) is not None


def events_by_file(metadata: str | None) -> dict[str, dict[str, Any]]:
    """`nentries` and `file_guid` by file name, from `files.output[].subFiles[]` of the job report; {} without one."""
    try:
        document = msgspec.json.decode(metadata or "null")
        outputs = document["files"]["output"]
        return {sub["name"]: sub for output in outputs for sub in output["subFiles"] if isinstance(sub["name"], str)}
    except (msgspec.DecodeError, KeyError, TypeError):
        return {}


def _with_events(file: FileOutcome, told: Mapping[str, Mapping[str, Any]]) -> FileOutcome:
    sub = told.get(file.lfn)
    if sub is None:
        return file
    extra = {"nevents": sub.get("nentries"), "guid": sub.get("file_guid") or file.facts.get("guid")}
    return FileOutcome(file.lfn, file.role, file.status, {**file.facts, **extra})
