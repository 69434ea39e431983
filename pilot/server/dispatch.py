"""Which job goes to a pilot that asks."""

from __future__ import annotations

import sqlite3
from typing import Any

import msgspec

from pilot.server.history import note

_LABELS = {
    "user": ("user", "panda", "install"),
    "managed": ("managed", "test", "prod_test", "install"),
    "unified": ("managed", "test", "prod_test", "install", "user", "panda"),
}
_TEST_LABELS = ("prod_test", "install", "test")
_NODE_LIMIT = 128


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What a pilot asks for. Memory and disk in MB and 0 for any; `remaining_s` is None for no known end."""

    site: str
    label: str | None = None
    jobs: int = 1
    memory_mb: int = 0
    disk_mb: int = 0
    node: str | None = None
    computing_element: str | None = None
    user: str | None = None
    task_id: int | None = None
    resource_type: str | None = None
    remaining_s: int | None = None
    harvester_id: str | None = None
    worker_id: int | None = None


def acquire(db: sqlite3.Connection, wish: Wish, now: float) -> list[dict[str, Any]]:
    """Moves the best matching jobs from activated to sent and returns their descriptions; none when none match.

    Higher priority first, then the older job. A job without a `computingSite` matches every site.
    """
    where, values = _conditions(wish)
    rows = db.execute(
        f"SELECT pandaid, attempt, debug, spec FROM job WHERE status = 'activated' AND {where} "
        "ORDER BY priority DESC, pandaid LIMIT ?",
        (*values, max(wish.jobs, 0)),
    ).fetchall()
    node = wish.node[:_NODE_LIMIT] if wish.node else None
    jobs = []
    for row in rows:
        db.execute(
            "UPDATE job SET status = 'sent', sent = ?, heard = ?, node = ? WHERE pandaid = ?",
            (now, now, node, row["pandaid"]),
        )
        note(db, row["pandaid"], now, "sent", f"to {node or 'a pilot'} of {wish.site}")
        jobs.append(_served(row))
    _relate(db, wish, jobs, now)
    return jobs


def _conditions(wish: Wish) -> tuple[str, list[Any]]:
    tests: list[tuple[str, tuple[Any, ...]]] = [("(site IS NULL OR site = ?)", (wish.site,)), _label_test(wish)]
    if wish.memory_mb:
        tests.append(("min_ram_mb <= ?", (wish.memory_mb,)))
    if wish.disk_mb:
        tests.append(("max_disk_mb <= ?", (wish.disk_mb,)))
    for column, wanted in (("user", wish.user), ("task_id", wish.task_id), ("resource_type", wish.resource_type)):
        if wanted is not None:
            tests.append((f"{column} = ?", (wanted,)))
    if wish.remaining_s is not None:
        tests.append(("(max_wall_s IS NULL OR max_wall_s <= ?)", (wish.remaining_s,)))
    return " AND ".join(test for test, _ in tests), [value for _, values in tests for value in values]


def _label_test(wish: Wish) -> tuple[str, tuple[str, ...]]:
    label = wish.label or "managed"
    if label == "test" and wish.computing_element:
        return f"(label IN ({_marks(_TEST_LABELS)}) OR processing_type = 'gangarobot')", _TEST_LABELS
    labels = _LABELS.get(label, (label,))
    return f"label IN ({_marks(labels)})", labels


def _marks(values: tuple[str, ...]) -> str:
    return ", ".join("?" * len(values))


def _served(row: sqlite3.Row) -> dict[str, Any]:
    spec: dict[str, Any] = msgspec.json.decode(row["spec"])
    return {"StatusCode": 0, **spec, "attemptNr": row["attempt"], "debug": str(bool(row["debug"]))}


def _relate(db: sqlite3.Connection, wish: Wish, jobs: list[dict[str, Any]], now: float) -> None:
    if wish.harvester_id is None or wish.worker_id is None:
        return
    worker = (wish.harvester_id, wish.worker_id)
    db.execute(
        "INSERT INTO worker (harvester_id, worker_id, status, started) VALUES (?, ?, 'running', ?) "
        "ON CONFLICT DO UPDATE SET status = 'running'",
        (*worker, now),
    )
    db.executemany("INSERT OR IGNORE INTO worker_job VALUES (?, ?, ?)", [(*worker, job["PandaID"]) for job in jobs])
