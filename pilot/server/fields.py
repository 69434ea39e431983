"""The fields of a job update: their names in both dialects, their types, and what the server cuts from them.

Written from protocol.md 3.1. Facts are stored under the v1 name; sizes are kB, times are s.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any


class Kind(Enum):
    """The JSON type that a v1 parameter is declared with.

    A bool is never a number. An int is refused where nothing but a float is declared (`FLOAT`), taken where either may
    come (`NUMBER`). `ANY` is not declared at all.
    """

    INT = "int"
    FLOAT = "float"
    NUMBER = "int or float"
    STR = "str"
    BOOL = "bool"
    INTS = "list of int"
    STRS = "list of str"
    OBJECTS = "list of dict"
    ANY = "anything"


class Cut(Enum):
    """What the server does to a value before it stores it."""

    NONE = "stored as given"
    TEXT = "cut at the limit"
    WHOLE = "made a whole number"
    KILO = "bytes made kB, at most ten digits"
    KILO_V1 = "v1 makes it kB, classic leaves it"
    DATE = "dropped unless YYYY-MM-DD HH:MM:SS"
    CODE = "its minus sign is dropped; it marks a user job that may be recovered"
    STDOUT = "classic cuts at the limit, v1 does not"


@dataclass(frozen=True)
class Field:
    """One field of an update; `document` ones are large texts that are kept beside the job.

    `default` is what v1 takes for an absent one: null is accepted only where it is None.
    """

    v1: str
    classic: str
    kind: Kind
    cut: Cut = Cut.NONE
    limit: int = 0
    document: bool = False
    default: str | None = None


def _family(kind: Kind, cut: Cut, prefixes: tuple[str, ...], names: tuple[str, ...]) -> tuple[Field, ...]:
    return tuple(Field(f"{p}_{n.lower()}", f"{p}{n}", kind, cut) for p in prefixes for n in names)


_MEMORY = ("RSS", "VMEM", "SWAP", "PSS")
_BYTES = ("RCHAR", "WCHAR", "RBYTES", "WBYTES")

FIELDS: tuple[Field, ...] = (
    Field("site_name", "siteName", Kind.STR),
    Field("node", "node", Kind.STR, Cut.TEXT, 128),
    Field("scheduler_id", "schedulerID", Kind.STR),
    Field("pilot_id", "pilotID", Kind.STR, Cut.TEXT, 200),
    Field("batch_id", "batchID", Kind.STR, Cut.TEXT, 80),
    Field("job_sub_status", "jobSubStatus", Kind.STR, Cut.TEXT, 80),
    Field("start_time", "startTime", Kind.STR, Cut.DATE),
    Field("end_time", "endTime", Kind.STR, Cut.DATE),
    Field("core_count", "coreCount", Kind.INT),
    Field("mean_core_count", "meanCoreCount", Kind.INT),
    Field("n_events", "nEvents", Kind.INT),
    Field("n_input_files", "nInputFiles", Kind.INT),
    Field("cpu_consumption_time", "cpuConsumptionTime", Kind.INT),
    Field("cpu_consumption_unit", "cpuConsumptionUnit", Kind.STR, Cut.TEXT, 128),
    Field("cpu_conversion_factor", "cpuConversionFactor", Kind.NUMBER),
    Field("cpu_architecture_level", "cpu_architecture_level", Kind.STR, Cut.TEXT, 20),
    *_family(Kind.NUMBER, Cut.WHOLE, ("max", "avg"), _MEMORY),
    *_family(Kind.NUMBER, Cut.KILO, ("tot",), _BYTES),
    *_family(Kind.NUMBER, Cut.KILO_V1, ("rate",), _BYTES),
    Field("job_metrics", "jobMetrics", Kind.STR, Cut.TEXT, 500),
    Field("meta_data", "metaData", Kind.STR, document=True, default=""),
    Field("job_output_report", "xml", Kind.STR, document=True, default=""),
    Field("pilot_timing", "pilotTiming", Kind.STR, Cut.TEXT, 100),
    Field("pilot_log", "pilotLog", Kind.STR, document=True, default=""),
    Field("stdout", "stdout", Kind.STR, Cut.STDOUT, 2048, document=True, default=""),
    Field("trans_exit_code", "transExitCode", Kind.INT),
    Field("exe_error_code", "exeErrorCode", Kind.INT),
    Field("exe_error_diag", "exeErrorDiag", Kind.STR, Cut.TEXT, 500),
    Field("pilot_error_code", "pilotErrorCode", Kind.INT, Cut.CODE),
    Field("pilot_error_diag", "pilotErrorDiag", Kind.STR, Cut.TEXT, 500),
    Field("corrupted_files", "corruptedFiles", Kind.STR),
    Field("grid", "grid", Kind.STR, Cut.TEXT, 50),
    Field("source_site", "source_site", Kind.STR, Cut.TEXT, 36),
    Field("destination_site", "destination_site", Kind.STR, Cut.TEXT, 36),
)

_DATE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")
_MOST = 10**10 - 1


def stored(given: Mapping[str, Any], *, classic: bool) -> tuple[dict[str, Any], dict[str, str]]:
    """Facts and documents as the server keeps them, from values under v1 names; null and empty ones say nothing."""
    facts: dict[str, Any] = {}
    documents: dict[str, str] = {}
    for field in FIELDS:
        value = given.get(field.v1)
        if value is None or value == "":
            continue
        value = _CUTS[field.cut](value, field, classic)
        if value is None:
            continue
        if field.document:
            documents[field.v1] = value
        else:
            facts[field.v1] = value
    if (given.get("pilot_error_code") or 0) < 0:
        facts["recoverable"] = True
    return facts, documents


def _kilo(value: float, field: Field, classic: bool) -> int:
    return min(int(value) // 1024, _MOST)


def _rate(value: float, field: Field, classic: bool) -> int:
    return min(int(value), _MOST) if classic else _kilo(value, field, classic)


def _stdout(value: str, field: Field, classic: bool) -> str:
    return value[: field.limit] if classic else value


_CUTS: dict[Cut, Callable[[Any, Field, bool], Any]] = {
    Cut.NONE: lambda value, field, classic: value,
    Cut.TEXT: lambda value, field, classic: value[: field.limit],
    Cut.WHOLE: lambda value, field, classic: int(value),
    Cut.KILO: _kilo,
    Cut.KILO_V1: _rate,
    Cut.DATE: lambda value, field, classic: value if _DATE.fullmatch(value) else None,
    Cut.CODE: lambda value, field, classic: abs(value),
    Cut.STDOUT: _stdout,
}
