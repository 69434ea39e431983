"""Applying a pilot's update to a job, and the adder that follows a final one."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any

import msgspec

from pilot.server import report
from pilot.server.endings import end, lock
from pilot.server.fields import stored
from pilot.server.history import note
from pilot.server.states import FINAL, Standing, Verdict, judge

_STANDING = """
SELECT pandaid, status, attempt, batch_id, finals, kill, softkill, debug, command, sub_status, facts, clone, event_set
FROM job WHERE pandaid = ?
"""
_HEARD = """
UPDATE job SET status = ?, sub_status = ?, facts = ?, command = ?, node = coalesce(?, node),
    batch_id = coalesce(?, batch_id), heard = ?, updates = updates + 1, finals = finals + ? WHERE pandaid = ?
"""
_DISCARDED = "UPDATE job SET updates = updates + 1, late_finals = late_finals + ? WHERE pandaid = ?"


class Update(msgspec.Struct, frozen=True, kw_only=True):
    """One update, in either dialect: `given` holds the values under their v1 names, as they came."""

    job_id: int
    state: str
    attempt: int | None = None
    given: dict[str, Any] = {}
    classic: bool = False


def update(db: sqlite3.Connection, told: Update, now: float, adder_delay_s: float = 0) -> str | None:
    """Applies the update, or not, and returns the command for the pilot (None for none).

    `told.state` is one of `states.ACCEPTED`. A final update is stored as `holding` together with its report; the
    adder decides the job's end in the same transaction, or when `watch.expire` finds it due after `adder_delay_s`.
    """
    row = db.execute(_STANDING, (told.job_id,)).fetchone()
    facts, documents = stored(told.given, classic=told.classic)
    verdict = judge(_standing(row), told.state, told.attempt, facts.get("batch_id"))
    if row is None:
        return verdict.command
    if verdict.status is None and (verdict.command in ("tobekilled", "alreadydone")):
        _discard(db, told, row["status"], verdict, now)
        return verdict.command
    if _lost_race(db, told, row):
        verdict = Verdict(None, "tobekilled")
        db.execute("UPDATE job SET kill = 1 WHERE pandaid = ?", (told.job_id,))
        _discard(db, told, row["status"], verdict, now)
        return verdict.command
    _store(db, told, row, verdict, facts, documents, now)
    if verdict.status != row["status"] and verdict.status is not None:
        note(db, told.job_id, now, verdict.status, f"the pilot says {told.state}")
    if told.state in FINAL and adder_delay_s > 0:
        due = (now + adder_delay_s, told.state, told.job_id)
        db.execute("UPDATE job SET adder_due = ?, told = ? WHERE pandaid = ?", due)
    elif told.state in FINAL:
        add(db, told.job_id, told.state, now)
    elif verdict.command and verdict.command != "debug":
        note(db, told.job_id, now, verdict.status or row["status"], f"told: {verdict.command}")
    return verdict.command


def _lost_race(db: sqlite3.Connection, told: Update, row: sqlite3.Row) -> bool:
    """Whether this copy of a `runonce` job wants to run while another copy does."""
    starts = told.state == "running" and row["status"] in ("sent", "starting")
    return bool(starts and row["clone"] == "runonce" and not lock(db, row))


def _standing(row: sqlite3.Row | None) -> Standing | None:
    if row is None:
        return None
    return Standing(
        row["status"], row["attempt"], row["batch_id"], row["finals"],
        bool(row["kill"]), bool(row["softkill"]), bool(row["debug"]), row["command"],
    )  # fmt: skip


def _discard(db: sqlite3.Connection, told: Update, status: str, verdict: Verdict, now: float) -> None:
    db.execute(_DISCARDED, (told.state in FINAL, told.job_id))
    note(db, told.job_id, now, status, f"update {told.state} not taken: {verdict.command}")


def _store(
    db: sqlite3.Connection,
    told: Update,
    row: sqlite3.Row,
    verdict: Verdict,
    facts: dict[str, Any],
    documents: Mapping[str, str],
    now: float,
) -> None:
    node, batch_id = facts.pop("node", None), facts.pop("batch_id", None)
    sub_status = facts.pop("job_sub_status", row["sub_status"])
    facts = {**msgspec.json.decode(row["facts"]), **facts}
    command = None if verdict.spent else row["command"]
    db.execute(
        _HEARD,
        (
            verdict.status or row["status"], sub_status, msgspec.json.encode(facts).decode(), command,
            node, batch_id, now, told.state in FINAL, told.job_id,
        ),
    )  # fmt: skip
    db.executemany(
        "INSERT INTO document VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET text = excluded.text",
        [(told.job_id, name, text) for name, text in documents.items()],
    )


def add(db: sqlite3.Connection, pandaid: int, state: str, now: float) -> None:
    """The adder: reads the stored report of a job in holding and gives the job its end."""
    row = db.execute("SELECT spec, facts FROM job WHERE pandaid = ?", (pandaid,)).fetchone()
    texts = dict(db.execute("SELECT name, text FROM document WHERE pandaid = ?", (pandaid,)).fetchall())
    facts = msgspec.json.decode(row["facts"])
    spec = msgspec.json.decode(row["spec"])
    outcome = report.judge(spec, state, texts.get("job_output_report"), texts.get("meta_data"), facts)
    _keep_files(db, pandaid, outcome)
    if outcome.diag:
        facts |= {"ddm_error_code": outcome.ddm_error_code, "ddm_error_diag": outcome.diag}
    end(db, pandaid, outcome.status, facts, outcome.diag or f"the pilot's report is {state}", now)


def _keep_files(db: sqlite3.Connection, pandaid: int, outcome: report.Outcome) -> None:
    db.executemany(
        "INSERT OR REPLACE INTO file VALUES (?, ?, ?, ?, ?)",
        [
            (pandaid, file.lfn, file.role, file.status, msgspec.json.encode(file.facts).decode())
            for file in outcome.files
        ],
    )
