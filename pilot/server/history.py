"""What happened to a job, line by line, for people and for tests."""

from __future__ import annotations

import sqlite3


def note(db: sqlite3.Connection, pandaid: int, now: float, status: str, text: str) -> None:
    """Writes a line into a job's history: the status it has now and why."""
    db.execute("INSERT INTO history VALUES (?, ?, ?, ?)", (pandaid, now, status, text))
