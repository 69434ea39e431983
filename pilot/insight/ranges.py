"""What has become of a job's event ranges, as `pilot show` tells it."""

from __future__ import annotations

from typing import Any

from pilot.core.rangestate import RangeState
from pilot.insight.read import Reader

_FEW = 10
_FAILED = (RangeState.FAILED, RangeState.TOLD_FAILED, RangeState.REFUSED)

#: What each state means, in the order of a range's way.
MEANING = {
    RangeState.READY: "waits for a worker",
    RangeState.HELD: "is with a worker",
    RangeState.DONE: "worked through; its output waits for an archive",
    RangeState.PACKED: "its output is in an archive on this machine",
    RangeState.STORED: "stored; the server is about to hear of it",
    RangeState.FAILED: "failed; the server is about to hear of it",
    RangeState.TOLD_FINISHED: "finished, and the server knows",
    RangeState.TOLD_FAILED: "failed, and the server knows",
    RangeState.REFUSED: "the server does not want to hear of it",
    RangeState.RETURNED: "given back: the job ended first",
}


def ranges_of(reader: Reader, key: str, everything: bool = False) -> dict[str, Any] | None:
    """The job's event ranges; None for a job that never had any.

    `states` counts them by state, `failed` and `slowest` are at most ten each (with `id`, `lfn`, `start_event`,
    `last_event`, `state`, `tries`, `cpu_s`, `wall_s`, `why`, `output`), `archives` those that hold outputs. With
    `everything` also `ranges`: all of them, in the order in which the server gave them.
    """
    counts = reader.range_counts(key)
    if not counts:
        return None
    failed = [int(state) for state in _FAILED]
    marks = ",".join("?" * len(failed))
    found: dict[str, Any] = {
        "total": sum(counts.values()),
        "states": {state.name.lower(): counts[state] for state in MEANING if state in counts},
        "failed": _named(reader.ranges(key, f"AND state IN ({marks}) ORDER BY n LIMIT {_FEW}", *failed)),
        "slowest": _named(reader.ranges(key, f"AND wall_s IS NOT NULL ORDER BY wall_s DESC, n LIMIT {_FEW}")),
        "archives": reader.event_archives(key),
    }
    if everything:
        found["ranges"] = _named(reader.ranges(key, "ORDER BY n"))
    return found


def _named(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    for row in rows:
        row["state"] = RangeState(row["state"]).name.lower()
    return rows
