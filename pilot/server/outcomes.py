"""What became of event ranges: taking the pilots' word for it, once for each range (protocol.md 4.2)."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from pilot.server import rangestore
from pilot.server.eventset import RangeId, RangeState, parsed
from pilot.server.states import EVENTS_FLOW

Taken = tuple[list[bool | None], dict[str, str | None]]
AT_MOST = 100_000
_STORED = {"finished": RangeState.FINISHED, "failed": RangeState.FAILED, "fatal": RangeState.FATAL}
_SKIPPED = frozenset({"running", "transferring"})
_JOB = "SELECT pandaid, status, kill, softkill, event_set FROM job WHERE pandaid = ?"


@dataclass(frozen=True)
class Told:
    """A pilot's word on one range; `archive` are the facts of the file that holds its result, if it named one."""

    range_id: object
    status: object
    error: int = 0
    dialog: str = ""
    archive: dict[str, Any] | None = None


def flattened(entries: Sequence[Any], version: int) -> Iterator[Told]:
    """The updates of a call in order; in versions 1 and 2 a chunk with `eventRanges` shares a `zipFile`."""
    for entry in entries:
        if not isinstance(entry, dict):
            yield Told(None, None)
        elif version >= 1 and isinstance(entry.get("eventRanges"), list):
            archive = entry.get("zipFile")
            for one in entry["eventRanges"]:
                yield _told(one, archive if isinstance(archive, dict) else None)
        else:
            yield _told(entry, None)


def _told(entry: object, archive: dict[str, Any] | None) -> Told:
    if not isinstance(entry, dict):
        return Told(None, None)
    code = entry.get("errorCode")
    return Told(
        entry.get("eventRangeID"),
        entry.get("eventStatus"),
        code if isinstance(code, int) else 0,
        str(entry.get("errorDiag") or "")[:500],
        archive or _own_file(entry),
    )


def _own_file(entry: dict[str, Any]) -> dict[str, Any] | None:
    told = {key: entry[key] for key in ("pfn", "fsize", "adler32", "objstoreID") if entry.get(key) is not None}
    return told or None


def apply(db: sqlite3.Connection, updates: Sequence[Told], version: int) -> Taken:
    """Stores what is new; one answer for each update, and the command for each job that was named.

    True: stored, or said before in the same words. None: a state without effect. False: no such range for this job
    and attempt, another outcome is known already, or the job may not speak of events now.
    """
    ledger = _Ledger(db, version)
    results = [ledger.enter(told) for told in updates]
    return results, ledger.commands()


class _Ledger:
    """One call's updates against the database, with what they share read once."""

    def __init__(self, db: sqlite3.Connection, version: int) -> None:
        self._db = db
        self._open = EVENTS_FLOW | ({"activated"} if version >= 2 else frozenset())
        self._jobs: dict[int, sqlite3.Row | None] = {}
        self._sets: dict[int, rangestore.RangeSet] = {}
        self._archives: dict[int, int] = {}

    def enter(self, told: Told) -> bool | None:
        range_id = parsed(told.range_id)
        if range_id is None:
            return False
        job = self._job(range_id.pandaid)
        if told.status in _SKIPPED:
            return None
        state = _STORED.get(told.status) if isinstance(told.status, str) else None
        if state is None or job is None or job["status"] not in self._open:
            return False
        return self._record(job, range_id, state, told)

    def commands(self) -> dict[str, str | None]:
        return {str(pandaid): _command(job) for pandaid, job in self._jobs.items()}

    def _job(self, pandaid: int) -> sqlite3.Row | None:
        if pandaid not in self._jobs:
            self._jobs[pandaid] = self._db.execute(_JOB, (pandaid,)).fetchone()
        return self._jobs[pandaid]

    def _record(self, job: sqlite3.Row, range_id: RangeId, state: RangeState, told: Told) -> bool:
        if job["event_set"] is None:
            return False
        drawn = self._set(job["event_set"])
        file = next((file for file in drawn.files if file.file_id == range_id.file_id), None)
        if file is None or range_id.task_id != drawn.task_id:
            return False
        number = file.first + range_id.process - 1
        if range_id.process < 1 or number >= drawn.total or drawn.file_of(number) is not file:
            return False
        row = self._db.execute(
            "SELECT pandaid, attempt, status FROM event_range WHERE set_id = ? AND number = ?", (drawn.set_id, number)
        ).fetchone()
        if row is None or row["pandaid"] != range_id.pandaid or row["attempt"] != range_id.attempt:
            return self._was(drawn, number, range_id, state)
        if row["status"] != RangeState.SENT:
            return bool(row["status"] == state)
        self._store(drawn, number, state, told)
        return True

    def _store(self, drawn: rangestore.RangeSet, number: int, state: RangeState, told: Told) -> None:
        if state is RangeState.FAILED:
            rangestore.give_back(self._db, drawn, number, state, told.error, told.dialog)
        else:
            output = self._archive(told)
            rangestore.settle(self._db, drawn.set_id, number, state, told.error, told.dialog, output)

    def _was(self, drawn: rangestore.RangeSet, number: int, range_id: RangeId, state: RangeState) -> bool:
        """Whether an earlier attempt ended as it is told now: a repeated message."""
        past = self._db.execute(
            "SELECT 1 FROM event_try WHERE set_id = ? AND number = ? AND attempt = ? AND pandaid = ? AND status = ?",
            (drawn.set_id, number, range_id.attempt, range_id.pandaid, state),
        ).fetchone()
        return past is not None

    def _set(self, set_id: int) -> rangestore.RangeSet:
        if set_id not in self._sets:
            self._sets[set_id] = rangestore.load(self._db, set_id)
        return self._sets[set_id]

    def _archive(self, told: Told) -> int | None:
        """The number of the archive's row; ranges of one chunk share the same facts object."""
        if told.archive is None:
            return None
        key = id(told.archive)
        if key not in self._archives:
            pandaid = parsed(told.range_id)
            made = self._db.execute(
                "INSERT INTO event_output (pandaid, facts) VALUES (?, ?)",
                (pandaid.pandaid if pandaid else 0, msgspec.json.encode(told.archive).decode()),
            )
            self._archives[key] = int(made.lastrowid or 0)
        return self._archives[key]


def _command(job: sqlite3.Row | None) -> str | None:
    if job is None or job["kill"] or job["status"] not in EVENTS_FLOW:
        return "tobekilled"
    return "softkill" if job["softkill"] else None
