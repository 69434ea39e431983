"""What is known of jobs, as plain JSON for people, tests and demonstrations."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

import msgspec

_BRIEF = """
SELECT pandaid AS job_id, status AS state, sub_status, attempt, site, label, task_id, updates,
    finals AS final_reports, late_finals AS repeated_final_reports, created, sent, heard, ended, facts,
    json_extract(spec, '$.jobName') AS name FROM job
"""


def jobs(db: sqlite3.Connection, state: str | None, limit: int) -> list[dict[str, Any]]:
    """The newest jobs, oldest first, of one state or of all."""
    where, values = ("WHERE status = ?", (state,)) if state else ("", ())
    rows = db.execute(f"{_BRIEF} {where} ORDER BY pandaid DESC LIMIT ?", (*values, limit)).fetchall()
    return [_brief(row) for row in reversed(rows)]


def job(db: sqlite3.Connection, pandaid: int) -> dict[str, Any] | None:
    """Everything known of one job; None if there is no such job."""
    row = db.execute(f"{_BRIEF} WHERE pandaid = ?", (pandaid,)).fetchone()
    if row is None:
        return None
    more = db.execute(
        "SELECT spec, node, batch_id, command, debug, kill, softkill FROM job WHERE pandaid = ?", (pandaid,)
    )
    rest = dict(more.fetchone())
    documents = dict(db.execute("SELECT name, text FROM document WHERE pandaid = ?", (pandaid,)).fetchall())
    return {
        **_brief(row),
        "node": rest["node"],
        "batch_id": rest["batch_id"],
        "command": rest["command"],
        "debug": bool(rest["debug"]),
        "kill": bool(rest["kill"]),
        "softkill": bool(rest["softkill"]),
        "facts": msgspec.json.decode(row["facts"]),
        "description": msgspec.json.decode(rest["spec"]),
        "report": _parsed(documents.get("job_output_report")),
        "metadata": _parsed(documents.get("meta_data")),
        "stdout": documents.get("stdout"),
        "pilot_log": documents.get("pilot_log"),
        "files": _files(db, pandaid),
        "history": _history(db, pandaid),
    }


def statuses(db: sqlite3.Connection, pandaids: Sequence[int]) -> dict[int, tuple[str, int]]:
    """Status and attempt of those of the jobs that exist."""
    rows = (db.execute("SELECT pandaid, status, attempt FROM job WHERE pandaid = ?", (n,)).fetchone() for n in pandaids)
    return {row["pandaid"]: (row["status"], row["attempt"]) for row in rows if row is not None}


def _brief(row: sqlite3.Row) -> dict[str, Any]:
    brief = {key: row[key] for key in row.keys() if key != "facts"}  # noqa: SIM118 - a Row iterates over its values
    facts = msgspec.json.decode(row["facts"])
    return brief | {
        "errors": {key: value for key, value in facts.items() if "error" in key or key == "trans_exit_code"}
    }


def _parsed(text: str | None) -> object:
    try:
        return None if text is None else msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text


def _files(db: sqlite3.Connection, pandaid: int) -> list[dict[str, Any]]:
    rows = db.execute("SELECT lfn, role, status, facts FROM file WHERE pandaid = ? ORDER BY lfn", (pandaid,))
    return [
        {**msgspec.json.decode(row["facts"]), "lfn": row["lfn"], "role": row["role"], "status": row["status"]}
        for row in rows
    ]


def _history(db: sqlite3.Connection, pandaid: int) -> list[dict[str, Any]]:
    rows = db.execute("SELECT at, status, note FROM history WHERE pandaid = ? ORDER BY rowid", (pandaid,))
    return [dict(row) for row in rows]
