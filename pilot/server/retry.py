"""The next attempt of a job that ended without doing all its work."""

from __future__ import annotations

import itertools
import sqlite3

import msgspec

from pilot.server import rangestore
from pilot.server.description import Spec, items, whole
from pilot.server.history import note
from pilot.server.submission import free_number, insert

_JOB = "SELECT pandaid, attempt, kill, clone, event_set, spec FROM job WHERE pandaid = ?"
_OTHERS = """
SELECT 1 FROM job WHERE event_set = ? AND pandaid <> ?
AND status IN ('activated', 'sent', 'starting', 'running', 'holding', 'transferring')
"""


def again(db: sqlite3.Connection, pandaid: int, status: str, now: float) -> int | None:
    """Submits the next attempt of an ended job and returns its number, if there is something left to do.

    That is so for a job that failed, and for one that worked on events of which some are ready while no other job
    draws from its set; as long as the description's `maxAttempt` (1 if absent) allows and nobody killed it. The copy
    has a number and a log file of its own and the next `attemptNr`.
    """
    job = db.execute(_JOB, (pandaid,)).fetchone()
    spec: Spec = msgspec.json.decode(job["spec"])
    if job["kill"] or job["clone"] or job["attempt"] >= whole(spec, "maxAttempt", 1):
        return None
    if not (status == "failed" if job["event_set"] is None else _events_left(db, job)):
        return None
    number = free_number(db)
    insert(db, _copy(spec, number, job["attempt"] + 1), now, f"attempt {job['attempt'] + 1} of {pandaid}")
    note(db, pandaid, now, status, f"tried again as {number}")
    return number


def _events_left(db: sqlite3.Connection, job: sqlite3.Row) -> bool:
    if db.execute(_OTHERS, (job["event_set"], job["pandaid"])).fetchone():
        return False
    return rangestore.ready_count(db, job["event_set"]) > 0


def _copy(spec: Spec, number: int, attempt: int) -> Spec:
    old, taken = str(spec["logFile"]), set(items(spec["outFiles"]))
    log = next(name for n in itertools.count(attempt) if (name := f"{old}.{n}") not in taken)
    outputs = [log if lfn == old else lfn for lfn in items(spec["outFiles"])]
    return {
        **spec,
        "PandaID": number,
        "attemptNr": attempt,
        "parentID": spec["PandaID"],
        "logFile": log,
        "outFiles": ",".join(outputs),
    }
