"""The part of `pilot show JOB` that is about event ranges."""

from __future__ import annotations

from typing import Any

from pilot.cli.tables import seconds, size, table
from pilot.core.rangestate import RangeState
from pilot.insight.ranges import MEANING


def told(found: dict[str, Any] | None) -> str:
    """The text; empty for a job without event ranges."""
    if found is None:
        return ""
    parts = [_counts(found)]
    if found["failed"]:
        parts.append(_failed(found["failed"]))
    if found["slowest"]:
        parts.append(_times("slowest ranges", found["slowest"]))
    if found["archives"]:
        rows = [(a["lfn"], a["state"], a["events"], size(a["size"]), a["surl"] or a["path"]) for a in found["archives"]]
        parts.append(table(("archive", "state", "events", "size", "where"), rows, right=("events", "size")))
    if "ranges" in found:
        parts.append(_times("all ranges", found["ranges"]))
    return "".join(f"\n{part}\n" for part in parts).rstrip("\n")


def _counts(found: dict[str, Any]) -> str:
    rows = [(name, count, MEANING[RangeState[name.upper()]]) for name, count in found["states"].items()]
    rows.append(("total", found["total"], ""))
    return table(("event ranges", "number", "meaning"), rows, right=("number",))


def _failed(rows: list[dict[str, Any]]) -> str:
    lines = [(row["id"], _events(row), row["tries"], row["why"] or "") for row in rows]
    return table(("failed range", "events", "deaths", "why"), lines, right=("events", "deaths"))


def _times(title: str, rows: list[dict[str, Any]]) -> str:
    lines = [
        (row["id"], row["lfn"], _events(row), row["state"], seconds(row["wall_s"]), seconds(row["cpu_s"]))
        for row in rows
    ]
    return table((title, "LFN", "events", "state", "time", "CPU"), lines, right=("events", "time", "CPU"))


def _events(row: dict[str, Any]) -> str:
    return f"{row['start_event']}-{row['last_event']}"
