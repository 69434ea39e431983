"""What is known of batch workers and of the nodes they run on."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any

import msgspec

PILOT_STATES = ("started", "finished")


def _kind(name: str, cores: tuple[int, int | None], ram_per_core_mb: tuple[int, int | None]) -> dict[str, Any]:
    return {
        "resource_name": name, "mincore": cores[0], "maxcore": cores[1],
        "minrampercore": ram_per_core_mb[0], "maxrampercore": ram_per_core_mb[1],
    }  # fmt: skip


RESOURCE_TYPES: tuple[Mapping[str, Any], ...] = (
    _kind("SCORE", (1, 1), (0, 2000)),
    _kind("SCORE_HIMEM", (1, 1), (2001, None)),
    _kind("MCORE", (2, None), (0, 2000)),
    _kind("MCORE_HIMEM", (2, None), (2001, None)),
)


def note_pilot(
    db: sqlite3.Connection, harvester_id: str, worker_id: int, status: str, node_id: str | None, now: float
) -> None:
    """Writes down that the pilot of a worker has started or finished."""
    column = "started" if status == "started" else "ended"
    db.execute(
        f"INSERT INTO worker (harvester_id, worker_id, status, node_id, {column}) VALUES (?, ?, ?, ?, ?) "
        f"ON CONFLICT DO UPDATE SET status = excluded.status, node_id = coalesce(excluded.node_id, node_id), "
        f"{column} = excluded.{column}",
        (harvester_id, worker_id, status, node_id, now),
    )


def note_node(db: sqlite3.Connection, kind: str, facts: Mapping[str, Any], now: float) -> None:
    """Keeps the map of a node (`kind` cpu or gpu); a later map of the same host replaces it."""
    said = {name: value for name, value in facts.items() if value is not None and name != "timeout"}
    db.execute(
        "INSERT OR REPLACE INTO node VALUES (?, ?, ?, ?, ?)",
        (facts["site"], facts["host_name"], kind, now, msgspec.json.encode(said).decode()),
    )


def workers(db: sqlite3.Connection) -> list[dict[str, Any]]:
    """Every worker with the jobs it took."""
    rows = db.execute("SELECT * FROM worker ORDER BY harvester_id, worker_id").fetchall()
    return [dict(row) | {"jobs": _jobs(db, row["harvester_id"], row["worker_id"])} for row in rows]


def _jobs(db: sqlite3.Connection, harvester_id: str, worker_id: int) -> list[int]:
    rows = db.execute(
        "SELECT pandaid FROM worker_job WHERE harvester_id = ? AND worker_id = ? ORDER BY pandaid",
        (harvester_id, worker_id),
    )
    return [row["pandaid"] for row in rows]


def nodes(db: sqlite3.Connection) -> list[dict[str, Any]]:
    """Every map of a node."""
    rows = db.execute("SELECT kind, at, facts FROM node ORDER BY site, host, kind")
    return [{"kind": row["kind"], "at": row["at"], **msgspec.json.decode(row["facts"])} for row in rows]
