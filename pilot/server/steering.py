"""Orders of users and operators to a job: kill, softkill, debug mode, a command for its pilot."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from typing import Any

from pilot.server.history import note
from pilot.server.refusal import UnknownJob
from pilot.server.states import WITH_PILOT, command_fault


class BadOrder(Exception):
    """The order makes no sense; the text says why."""


def _status(db: sqlite3.Connection, pandaid: int) -> str:
    row = db.execute("SELECT status FROM job WHERE pandaid = ?", (pandaid,)).fetchone()
    if row is None:
        raise UnknownJob(pandaid)
    return str(row["status"])


def kill(db: sqlite3.Connection, pandaid: int, now: float) -> str:
    """Asks for the end of a job: one that no pilot has is cancelled at once, others get `tobekilled`."""
    status = _status(db, pandaid)
    if status in WITH_PILOT:
        db.execute("UPDATE job SET kill = 1 WHERE pandaid = ?", (pandaid,))
        note(db, pandaid, now, status, "kill requested")
    elif status == "activated":
        db.execute("UPDATE job SET status = 'cancelled', kill = 1, ended = ? WHERE pandaid = ?", (now, pandaid))
        note(db, pandaid, now, "cancelled", "killed before a pilot had it")
        status = "cancelled"
    return status


def softkill(db: sqlite3.Connection, pandaid: int, now: float) -> str:
    """Asks the pilot to take no more events and to finish with what it has."""
    status = _status(db, pandaid)
    db.execute("UPDATE job SET softkill = 1 WHERE pandaid = ?", (pandaid,))
    note(db, pandaid, now, status, "softkill requested")
    return status


def set_debug(db: sqlite3.Connection, pandaid: int, on: bool, now: float) -> str:
    """Switches debug mode: while on, each answer to an update says `debug`; off is said once as `debugoff`."""
    status = _status(db, pandaid)
    (was,) = db.execute("SELECT debug FROM job WHERE pandaid = ?", (pandaid,)).fetchone()
    command = "debugoff" if was and not on and status in WITH_PILOT else None
    db.execute("UPDATE job SET debug = ?, command = coalesce(?, command) WHERE pandaid = ?", (on, command, pandaid))
    note(db, pandaid, now, status, f"debug mode {'on' if on else 'off'}")
    return status


def set_command(db: sqlite3.Connection, pandaid: int, command: str, now: float) -> str:
    """Leaves a command for the next answer to the job's pilot, which gets it once."""
    status = _status(db, pandaid)
    if fault := command_fault(command):
        raise BadOrder(fault)
    db.execute("UPDATE job SET command = ? WHERE pandaid = ?", (command, pandaid))
    note(db, pandaid, now, status, f"command set: {command}")
    return status


def _debug_from(db: sqlite3.Connection, pandaid: int, body: Mapping[str, Any], now: float) -> str:
    on = body.get("on", True)
    if not isinstance(on, bool):
        raise BadOrder(f"on must be true or false, not {on!r}")
    return set_debug(db, pandaid, on, now)


def _command_from(db: sqlite3.Connection, pandaid: int, body: Mapping[str, Any], now: float) -> str:
    command = body.get("command")
    if not isinstance(command, str):
        raise BadOrder("command must be a text")
    return set_command(db, pandaid, command, now)


ACTIONS: Mapping[str, Callable[[sqlite3.Connection, int, Mapping[str, Any], float], str]] = {
    "kill": lambda db, pandaid, body, now: kill(db, pandaid, now),
    "softkill": lambda db, pandaid, body, now: softkill(db, pandaid, now),
    "debug": _debug_from,
    "command": _command_from,
}
