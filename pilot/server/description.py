"""What a submitted job description must look like, and how the gaps in it are filled."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeGuard

from pilot.core.lfn import with_whole_patterns

Spec = dict[str, Any]

_WHOLE = (
    "PandaID", "taskID", "jobsetID", "jobDefinitionID", "reqID", "attemptNr", "maxAttempt", "currentPriority",
    "maxCpuCount", "maxWalltime", "maxDiskCount", "minRamCount", "coreCount", "nEventsPerRange",
)  # fmt: skip
_TEXT = (
    "jobName", "prodSourceLabel", "processingType", "transformation", "jobPars", "homepackage", "swRelease",
    "cmtConfig", "logFile", "logGUID", "scopeLog", "computingSite", "resource_type", "transferType", "prodUserID",
    "writeToFile", "container_name",
)  # fmt: skip
_OF_INPUTS = (
    "realDatasetsIn", "GUID", "fsize", "checksum", "scopeIn", "ddmEndPointIn", "prodDBlocks", "prodDBlockToken",
    "dispatchDblock", "dispatchDBlockToken",
)  # fmt: skip
_OF_OUTPUTS = (
    "realDatasets", "destinationDblock", "destinationDBlockToken", "fileDestinationSE", "ddmEndPointOut",
    "dispatchDBlockTokenForOut",
)  # fmt: skip
_LISTS = ("inFiles", "outFiles", "scopeOut", "allowNoOutput", *_OF_INPUTS, *_OF_OUTPUTS)
_SWITCHES = ("eventService", "eventServiceMerge", "debug", "usePrefetcher", "isHPO", "putLogToOS", "noExecStrCnv")


@dataclass(frozen=True)
class Slip:
    """One mistake: the key and what is wrong with its value."""

    key: str
    message: str


def is_null(value: object) -> bool:
    """Whether this is one of the ways in which a description says nothing."""
    return value is None or value in ("", "NULL", "None")


def items(value: object) -> list[str]:
    """The entries of a comma-separated list; of nothing, none."""
    return [] if is_null(value) else str(value).split(",")


def is_on(spec: Spec, key: str) -> bool:
    """Whether a switch is set, in the spelling of descriptions (the text `True`)."""
    return str(spec.get(key)) == "True"


def whole(spec: Spec, key: str, default: int = 0) -> int:
    """The value of a key that holds a whole number, as a number or as text; anything else counts as not said."""
    value = spec.get(key)
    return int(value) if _is_whole(value) else default


def slips(spec: object) -> list[Slip]:
    """Every mistake in one description; none means that it can be served."""
    if not isinstance(spec, dict):
        return [Slip("(all)", f"a description is a JSON object, not {type(spec).__name__}")]
    found = [*_wrong_types(spec)]
    return found if found else [*_wrong_lists(spec), *_wrong_words(spec), *_wrong_events(spec)]


def _wrong_types(spec: Spec) -> Iterator[Slip]:
    if is_null(spec.get("transformation")):
        yield Slip("transformation", "is missing: the executable of the payload")
    for key in _WHOLE:
        if not is_null(value := spec.get(key)) and not _is_whole(value):
            yield Slip(key, f"must be a whole number from 0, not {value!r}")
    for key in _TEXT:
        if not isinstance(value := spec.get(key), str | None):
            yield Slip(key, f"must be a text, not {value!r}")
    for key in _LISTS:
        value = spec.get(key)
        if isinstance(value, list):
            if not all(isinstance(item, str | int) and "," not in str(item) for item in value):
                yield Slip(key, "must hold texts without a comma")
        elif not isinstance(value, str | int | None):
            yield Slip(key, f"must be a comma-separated text, not {value!r}")
    for key in _SWITCHES:
        if spec.get(key) not in (None, True, False, "True", "False", "NULL", ""):
            yield Slip(key, f"must be the text True or False, not {spec[key]!r}")


def _is_whole(value: object) -> TypeGuard[int | str]:
    if isinstance(value, bool):
        return False
    return (isinstance(value, int) and value >= 0) or (isinstance(value, str) and value.isascii() and value.isdigit())


def _wrong_lists(spec: Spec) -> Iterator[Slip]:
    joined = _joined(spec)
    inputs, outputs = items(joined.get("inFiles")), with_whole_patterns(items(joined.get("outFiles")))
    for key, lfns in (("inFiles", inputs), ("outFiles", outputs)):
        if len(set(lfns)) != len(lfns):
            yield Slip(key, "names a file twice")
        if any(not lfn.strip() for lfn in lfns):
            yield Slip(key, "has an empty name in it")
    for key in _OF_INPUTS:
        if (got := len(items(joined.get(key)))) not in (0, len(inputs)):
            yield Slip(key, f"has {got} entries for the {len(inputs)} of inFiles")
    log = joined.get("logFile")
    others = len([lfn for lfn in outputs if lfn != log])
    for key in _OF_OUTPUTS:
        if (got := len(items(joined.get(key)))) not in (0, others, others + 1):
            yield Slip(key, f"has {got} entries for {others} outputs and the log")
    if (got := len(items(joined.get("scopeOut")))) not in (0, others):
        yield Slip("scopeOut", f"has {got} entries for {others} outputs (the log's scope is scopeLog)")
    for lfn in items(joined.get("allowNoOutput")):
        if lfn not in outputs:
            yield Slip("allowNoOutput", f"names {lfn!r}, which is not in outFiles")


def _wrong_words(spec: Spec) -> Iterator[Slip]:
    clone = spec.get("cloneJob")
    if not is_null(clone) and clone not in ("runonce", "storeonce"):
        yield Slip("cloneJob", f"must be runonce or storeonce, not {clone!r}")
    if not is_null(clone) and is_on(spec, "eventService"):
        yield Slip("cloneJob", "cannot go with eventService")


def _wrong_events(spec: Spec) -> Iterator[Slip]:
    if not is_on(spec, "eventService"):
        return
    inputs = items(_joined(spec).get("inFiles"))
    if not inputs:
        yield Slip("inFiles", "must name the files whose events are processed")
    if whole(spec, "nEventsPerRange") < 1:
        yield Slip("nEventsPerRange", "must be at least 1")
    counts = items(_joined(spec, "nEvents").get("nEvents"))
    if not all(_is_whole(count) and int(count) > 0 for count in counts) or not counts:
        yield Slip("nEvents", "must be the number of events, or one number for each input file")
    elif len(counts) not in (1, len(inputs)):
        yield Slip("nEvents", f"has {len(counts)} entries for the {len(inputs)} of inFiles")


def _joined(spec: Spec, *more: str) -> Spec:
    listed = {key: value for key in (*_LISTS, *more) if isinstance(value := spec.get(key), list)}
    return {**spec, **{key: ",".join(map(str, value)) for key, value in listed.items()}}


def completed(spec: Spec, pandaid: int) -> Spec:
    """The description as it is served: a number, an attempt, a label, a log file, and lists as comma-separated text.

    The log joins `outFiles` if it is not there; lists parallel to the outputs get the log's entry by repeating the
    last one.
    """
    full = _joined(spec, "nEvents")
    full["PandaID"] = pandaid
    full["attemptNr"] = whole(spec, "attemptNr", 1)
    _fill(full, "prodSourceLabel", "managed")
    _fill(full, "jobName", f"job.{pandaid}")
    outputs, scopes = with_whole_patterns(items(full.get("outFiles"))), items(full.get("scopeOut"))
    _fill(full, "logFile", f"{str(full['jobName']).replace('/', '_')}.{pandaid}.log.tgz")
    _fill(full, "logGUID", str(uuid.uuid4()))
    _fill(full, "scopeLog", (scopes or items(full.get("scopeIn")) or ["pilot"])[-1])
    if full["logFile"] not in outputs:
        outputs.append(full["logFile"])
    full["outFiles"] = ",".join(outputs)
    for key in _OF_OUTPUTS:
        entries = items(full.get(key))
        if len(entries) == len(outputs) - 1 and entries:
            full[key] = ",".join([*entries, entries[-1]])
    if is_on(full, "eventService") or not is_null(full.get("cloneJob")):
        _fill(full, "taskID", pandaid)
        _fill(full, "jobsetID", pandaid)
    for key in _SWITCHES:
        if isinstance(full.get(key), bool):
            full[key] = str(full[key])
    return full


def _fill(spec: Spec, key: str, value: object) -> None:
    if is_null(spec.get(key)):
        spec[key] = value
