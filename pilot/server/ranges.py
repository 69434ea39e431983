"""Event ranges for pilots: handing out, counting, asking (protocol.md 4.1)."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Any

from pilot.server import rangestore
from pilot.server.eventset import RangeId, RangeState
from pilot.server.history import note
from pilot.server.states import EVENTS_FLOW

_JOB = "SELECT pandaid, status, kill, clone, event_set, task_id, jobset_id FROM job WHERE pandaid = ?"


def acquire(
    db: sqlite3.Connection, pandaid: int, task_id: int | None, jobset_id: int | None, wanted: int, now: float
) -> list[dict[str, Any]]:
    """Hands up to `wanted` ready ranges to a job, which owns them from now on.

    Empty if the job is unknown, is not with a pilot, is to be killed, or the numbers given do not belong to it. A
    short answer closes those jobs of the jobset that no pilot has yet. A copy of a cloned job that holds the range
    is told of it again.
    """
    job = _drawing(db, pandaid, task_id, jobset_id)
    if job is None or job["status"] not in EVENTS_FLOW or job["kill"]:
        return []
    drawn = rangestore.load(db, job["event_set"])
    taken = (held(db, job) if job["clone"] else []) or rangestore.take(db, drawn, pandaid, max(wanted, 0))
    if len(taken) < wanted and not job["clone"]:
        _close_unused(db, job, now)
    return [_told(drawn, pandaid, number, attempt) for number, attempt in taken]


def _drawing(db: sqlite3.Connection, pandaid: int, task_id: int | None, jobset_id: int | None) -> sqlite3.Row | None:
    row: sqlite3.Row | None = db.execute(_JOB, (pandaid,)).fetchone()
    if row is None or row["event_set"] is None:
        return None
    if task_id not in (None, row["task_id"]) or jobset_id not in (None, row["jobset_id"]):
        return None
    return row


def held(db: sqlite3.Connection, job: sqlite3.Row) -> list[tuple[int, int]]:
    """The ranges that a job holds now: numbers and attempts."""
    rows = db.execute(
        "SELECT number, attempt FROM event_range WHERE pandaid = ? AND set_id = ? AND status = 1",
        (job["pandaid"], job["event_set"]),
    )
    return [(row["number"], row["attempt"]) for row in rows]


def _close_unused(db: sqlite3.Connection, job: sqlite3.Row, now: float) -> None:
    close_waiting(db, job["event_set"], job["pandaid"], "no events are left for it", now)


def close_waiting(db: sqlite3.Connection, set_id: int, but: int, why: str, now: float) -> None:
    """Closes the jobs that draw from a set and that no pilot has."""
    jobs = db.execute(
        "SELECT j.pandaid FROM event_set s JOIN job j ON j.task_id = s.task_id AND j.jobset_id = s.jobset_id "
        "WHERE s.id = ? AND j.status = 'activated' AND j.pandaid <> ?",
        (set_id, but),
    ).fetchall()
    for row in jobs:
        db.execute("UPDATE job SET status = 'closed', ended = ? WHERE pandaid = ?", (now, row["pandaid"]))
        note(db, row["pandaid"], now, "closed", why)


def _told(drawn: rangestore.RangeSet, pandaid: int, number: int, attempt: int) -> dict[str, Any]:
    file = drawn.file_of(number)
    start, last = file.bounds(number, drawn.per_range)
    return {
        "eventRangeID": str(RangeId(drawn.task_id, pandaid, file.file_id, number - file.first + 1, attempt)),
        "startEvent": start,
        "lastEvent": last,
        "LFN": file.lfn,
        "GUID": file.guid,
        "scope": file.scope,
    }


def available(db: sqlite3.Connection, pandaid: int, task_id: int | None, jobset_id: int | None) -> int:
    """How many ranges the job could get; 0 for one that works on no events."""
    job = _drawing(db, pandaid, task_id, jobset_id)
    return 0 if job is None else rangestore.ready_count(db, job["event_set"])


def statuses(db: sqlite3.Connection, jobs: Iterable[tuple[int, int]]) -> dict[str, dict[str, dict[str, Any]]]:
    """By job, then by range: status, error and dialog of every attempt that the job has had in hand.

    `jobs` are pairs of task and job.
    """
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for task_id, pandaid in jobs:
        job = _drawing(db, pandaid, task_id, None)
        found[str(pandaid)] = {} if job is None else _attempts(db, rangestore.load(db, job["event_set"]), pandaid)
    return found


def _attempts(db: sqlite3.Connection, drawn: rangestore.RangeSet, pandaid: int) -> dict[str, dict[str, Any]]:
    rows = db.execute(
        "SELECT number, attempt, status, error, dialog FROM event_try WHERE set_id = ? AND pandaid = ? UNION ALL "
        "SELECT number, attempt, status, error, dialog FROM event_range "
        "WHERE set_id = ? AND pandaid = ? AND status <> 0",
        (drawn.set_id, pandaid) * 2,
    )
    told = {}
    for number, attempt, status, error, dialog in rows:
        file = drawn.file_of(number)
        name = RangeId(drawn.task_id, pandaid, file.file_id, number - file.first + 1, attempt)
        told[str(name)] = {"status": RangeState(status).word, "error": error or None, "dialog": dialog or None}
    return told


def summary(db: sqlite3.Connection, pandaid: int) -> dict[str, Any] | None:
    """The whole set of a job in numbers; None for a job without one."""
    job = db.execute(_JOB, (pandaid,)).fetchone()
    if job is None or job["event_set"] is None:
        return None
    drawn = rangestore.load(db, job["event_set"])
    rows = db.execute(
        "SELECT status, count(*) FROM event_range WHERE set_id = ? GROUP BY status", (drawn.set_id,)
    ).fetchall()
    counts = {RangeState(status).word: count for status, count in rows}
    counts["ready"] = counts.get("ready", 0) + drawn.total - drawn.next
    return {"ranges": drawn.total, "events_per_range": drawn.per_range, "states": counts}
