"""How a job ends: its last status, and what follows for its event ranges, its copies and its next attempt."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any

import msgspec

from pilot.server import ranges, rangestore
from pilot.server.eventset import RangeState
from pilot.server.history import note
from pilot.server.retry import again

_JOB = "SELECT pandaid, clone, event_set, kill, sub_status FROM job WHERE pandaid = ?"


def end(db: sqlite3.Connection, pandaid: int, status: str, facts: Mapping[str, Any], why: str, now: float) -> str:
    """Gives a job its end and returns it; `facts` replace the stored ones.

    `finished` becomes `closed` for a copy of a cloned job when another copy was first; `failed` becomes
    `cancelled` when a kill was asked for, and `closed` when the pilot said so in its sub-status.
    """
    job = db.execute(_JOB, (pandaid,)).fetchone()
    if status == "failed" and job["kill"]:
        status = "cancelled"
    elif status == "failed" and job["sub_status"] == "pilot_closed":
        status = "closed"
    elif status == "finished" and job["clone"] and not lock(db, job):
        status, why = "closed", "another copy was first"
    db.execute(
        "UPDATE job SET status = ?, facts = ?, ended = ?, adder_due = NULL WHERE pandaid = ?",
        (status, msgspec.json.encode(facts).decode(), now, pandaid),
    )
    note(db, pandaid, now, status, why)
    if job["event_set"] is not None:
        _settle_ranges(db, job, status, now)
    again(db, pandaid, status, now)
    return status


def lock(db: sqlite3.Connection, job: sqlite3.Row) -> bool:
    """Takes the single range of a cloned job for this copy; False if another copy has it."""
    if ranges.held(db, job):
        return True
    drawn = rangestore.load(db, job["event_set"])
    return bool(rangestore.take(db, drawn, job["pandaid"], 1))


def _settle_ranges(db: sqlite3.Connection, job: sqlite3.Row, status: str, now: float) -> None:
    if job["clone"] and status == "finished":
        for number, _ in ranges.held(db, job):
            rangestore.settle(db, job["event_set"], number, RangeState.FINISHED)
        ranges.close_waiting(db, job["event_set"], job["pandaid"], "another copy is done", now)
        return
    count = rangestore.release(db, rangestore.load(db, job["event_set"]), job["pandaid"])
    if count:
        note(db, job["pandaid"], now, status, f"{count} event ranges are ready again")
