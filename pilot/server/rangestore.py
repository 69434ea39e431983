"""The sets of event ranges in the database: compact, and with rows only for ranges that were handed out.

A set belongs to a task and a jobset; every job of the jobset draws from it. `next` is the number of the first range
that was never given, so a set of a million ranges is a handful of rows until they are used.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass

from pilot.server.description import Spec, is_null, is_on, whole
from pilot.server.eventset import Cut, InputFile, RangeState, clone_cut, cuts

_TRIES = 3


@dataclass(frozen=True)
class RangeSet:
    """A set: `total` ranges of `per_range` events; a range is given up after `max_tries` failures."""

    set_id: int
    task_id: int
    per_range: int
    total: int
    next: int
    max_tries: int
    files: tuple[InputFile, ...]

    def file_of(self, number: int) -> InputFile:
        """The file in which a range lies."""
        return next(file for file in reversed(self.files) if file.first <= number)


def attach(db: sqlite3.Connection, spec: Spec) -> int | None:
    """The number of the set that a new job draws from: its jobset's, made now if this is its first job.

    None for a job that works on no events and is no clone.
    """
    clone = not is_null(spec.get("cloneJob"))
    if not clone and not is_on(spec, "eventService"):
        return None
    task_id, jobset_id = whole(spec, "taskID"), whole(spec, "jobsetID")
    row = db.execute("SELECT id FROM event_set WHERE task_id = ? AND jobset_id = ?", (task_id, jobset_id)).fetchone()
    if row is not None:
        return int(row["id"])
    files = [clone_cut(spec)] if clone else list(cuts(spec))
    per_range = max(file.events for file in files) if clone else whole(spec, "nEventsPerRange")
    tries = whole(spec, "maxAttemptES", _TRIES)
    return _create(db, task_id, jobset_id, per_range, max(tries, 1), files)


def _create(
    db: sqlite3.Connection, task_id: int, jobset_id: int, per_range: int, max_tries: int, files: Iterable[Cut]
) -> int:
    made = db.execute(
        "INSERT INTO event_set (task_id, jobset_id, per_range, total, next, max_tries) VALUES (?, ?, ?, 0, 0, ?)",
        (task_id, jobset_id, per_range, max_tries),
    )
    set_id, first = int(made.lastrowid or 0), 0
    for file in files:
        db.execute(
            "INSERT INTO event_file (set_id, lfn, guid, scope, events, first) VALUES (?, ?, ?, ?, ?, ?)",
            (set_id, file.lfn, file.guid, file.scope, file.events, first),
        )
        first += -(-file.events // per_range)
    db.execute("UPDATE event_set SET total = ? WHERE id = ?", (first, set_id))
    return set_id


def load(db: sqlite3.Connection, set_id: int) -> RangeSet:
    """A set with its files."""
    row = db.execute("SELECT * FROM event_set WHERE id = ?", (set_id,)).fetchone()
    files = db.execute(
        "SELECT file_id, lfn, guid, scope, events, first FROM event_file WHERE set_id = ? ORDER BY first", (set_id,)
    )
    return RangeSet(
        set_id, row["task_id"], row["per_range"], row["total"], row["next"], row["max_tries"],
        tuple(InputFile(*file) for file in files if file["events"]),
    )  # fmt: skip


def ready_count(db: sqlite3.Connection, set_id: int) -> int:
    """How many ranges can be handed out."""
    row = db.execute(
        "SELECT total - next + (SELECT count(*) FROM event_range WHERE set_id = id AND status = 0) AS n "
        "FROM event_set WHERE id = ?",
        (set_id,),
    ).fetchone()
    return int(row["n"])


def take(db: sqlite3.Connection, drawn: RangeSet, pandaid: int, wanted: int) -> list[tuple[int, int]]:
    """Hands ranges to a job: numbers and attempts, first those that came back, then new ones."""
    back = db.execute(
        "SELECT number, attempt FROM event_range WHERE set_id = ? AND status = 0 ORDER BY number LIMIT ?",
        (drawn.set_id, wanted),
    ).fetchall()
    db.executemany(
        "UPDATE event_range SET status = 1, pandaid = ? WHERE set_id = ? AND number = ?",
        [(pandaid, drawn.set_id, row["number"]) for row in back],
    )
    new = range(drawn.next, min(drawn.next + wanted - len(back), drawn.total))
    db.executemany(
        "INSERT INTO event_range (set_id, number, pandaid, attempt, status) VALUES (?, ?, ?, 1, 1)",
        [(drawn.set_id, number, pandaid) for number in new],
    )
    if new:
        db.execute("UPDATE event_set SET next = ? WHERE id = ?", (new.stop, drawn.set_id))
    return [(row["number"], row["attempt"]) for row in back] + [(number, 1) for number in new]


def give_back(
    db: sqlite3.Connection, drawn: RangeSet, number: int, past: RangeState, error: int = 0, dialog: str = ""
) -> None:
    """Ends an attempt at a range that did not succeed: it becomes ready under a new attempt number.

    A `FAILED` one counts as a try; after the last try the range stays failed.
    """
    key = (drawn.set_id, number)
    row = db.execute("SELECT attempt, tries, pandaid FROM event_range WHERE set_id = ? AND number = ?", key).fetchone()
    tries = row["tries"] + (past is RangeState.FAILED)
    if past is RangeState.FAILED and tries >= drawn.max_tries:
        settle(db, drawn.set_id, number, RangeState.FAILED, error, dialog)
        return
    db.execute(
        "INSERT INTO event_try VALUES (?, ?, ?, ?, ?, ?, ?)",
        (*key, row["attempt"], row["pandaid"], past, error, dialog),
    )
    db.execute(
        "UPDATE event_range SET tries = ?, attempt = attempt + 1, status = 0 WHERE set_id = ? AND number = ?",
        (tries, *key),
    )


def settle(
    db: sqlite3.Connection,
    set_id: int,
    number: int,
    state: RangeState,
    error: int = 0,
    dialog: str = "",
    output: int | None = None,
) -> None:
    """Gives a range its outcome; `output` is the number of the archive that holds its result."""
    db.execute(
        "UPDATE event_range SET status = ?, error = ?, dialog = ?, output = ? WHERE set_id = ? AND number = ?",
        (state, error, dialog, output, set_id, number),
    )


def release(db: sqlite3.Connection, drawn: RangeSet, pandaid: int) -> int:
    """Takes back what an ended job still held; returns the number of ranges."""
    rows = db.execute(
        "SELECT number FROM event_range WHERE pandaid = ? AND set_id = ? AND status = 1", (pandaid, drawn.set_id)
    ).fetchall()
    for row in rows:
        give_back(db, drawn, row["number"], RangeState.DISCARDED)
    return len(rows)
