"""The watchers: jobs whose pilots fell silent are failed, and reports that waited for the adder are judged."""

from __future__ import annotations

import asyncio
import sqlite3
from typing import Any

import msgspec

from pilot.server.endings import end
from pilot.server.jobserver import JobServer
from pilot.server.limits import Limits
from pilot.server.updates import add

_SENT, _LOST, _HOLDING = 102, 100, 101
_HIGH_PRIORITY = 800
_SILENT = {
    "sent": (_SENT, "sent job did not receive a reply from its pilot in time"),
    "holding": (_HOLDING, "job was holding for too long"),
}
# Each watched job with the moment in which its pilot's silence has lasted too long.
_DUE = f"""
SELECT pandaid, status, facts, CASE
    WHEN status = 'sent' THEN heard + :sent
    WHEN status IN ('starting', 'running') THEN heard + :heartbeat
    WHEN status = 'transferring' AND label IN ('user', 'panda') THEN heard + :heartbeat
    WHEN status = 'holding' AND (label IN ('user', 'panda') OR priority > {_HIGH_PRIORITY}) THEN heard + :holding_user
    WHEN status = 'holding' THEN heard + :holding END AS due
FROM job WHERE status IN ('sent', 'starting', 'running', 'holding', 'transferring') AND adder_due IS NULL
"""


def expire(db: sqlite3.Connection, now: float, limits: Limits) -> float | None:
    """Does what is due; returns the time of the next thing that falls due, if there is one."""
    for row in db.execute("SELECT pandaid, told FROM job WHERE adder_due <= ?", (now,)).fetchall():
        add(db, row["pandaid"], row["told"], now)
    waits = {
        "sent": limits.sent_s,
        "heartbeat": limits.heartbeat_s,
        "holding_user": limits.holding_user_s,
        "holding": limits.holding_s,
    }
    for row in db.execute(f"SELECT * FROM ({_DUE}) WHERE due <= :now", {**waits, "now": now}).fetchall():
        _fail(db, row, now)
    (adder,) = db.execute("SELECT min(adder_due) FROM job WHERE adder_due IS NOT NULL").fetchone()
    (silence,) = db.execute(f"SELECT min(due) FROM ({_DUE})", waits).fetchone()
    return min((time for time in (adder, silence) if time is not None), default=None)


def _fail(db: sqlite3.Connection, row: sqlite3.Row, now: float) -> None:
    code, diag = _SILENT.get(row["status"], (_LOST, "lost heartbeat"))
    facts: dict[str, Any] = msgspec.json.decode(row["facts"])
    facts |= {"job_dispatcher_error_code": code, "job_dispatcher_error_diag": diag}
    end(db, row["pandaid"], "failed", facts, f"{diag} ({code})", now)


async def watch(server: JobServer) -> None:
    """Runs `expire` whenever something can be due, for ever."""
    while True:
        due = await server.do(lambda db, now: expire(db, now, server.limits))
        longest = server.limits.shortest_s
        await asyncio.sleep(longest if due is None else max(min(due - server.clock(), longest), 0))
