"""The PilotDB of a pilot: its jobs and their way. One connection, used by one thread.

sqlite in WAL mode with `synchronous=NORMAL`: what is committed survives a kill -9 of the pilot at any moment (it is in
the kernel's hands), and a commit costs tens of microseconds. Readers open the file on their own (`insight/read`).
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from pilot.core.errors import Failure, PilotError
from pilot.core.facts import Facts
from pilot.core.job import JobDefinition
from pilot.core.lifecycle import Job, Phase
from pilot.core.usage import Sample
from pilot.db.connection import json_text
from pilot.db.messages import Messages
from pilot.db.plans import Plans
from pilot.db.processes import Processes
from pilot.db.runs import Runs
from pilot.db.schema import migrate
from pilot.db.transfers import Transfers

_SAMPLE_FIELDS = [f.name for f in msgspec.structs.fields(Sample)]


class StoredJob(msgspec.Struct, frozen=True):
    """A job as a restarted pilot finds it."""

    job: Job
    facts: Facts
    definition: dict[str, Any]
    directory: str


class Store(Runs, Messages, Processes, Transfers, Plans):
    """What the pilot knows, on disk. Every method outside `transaction` is a transaction of its own.

    `clean` takes known secrets out of what is written of a job's course; its description comes without them.
    Errors: `NoLocalSpace` when the disk is full, `FileHandlingFailure` for everything else that sqlite says.
    """

    def __init__(self, path: Path | str, clean: Callable[[Any], Any] = lambda value: value) -> None:
        super().__init__(path)
        self._clean = clean
        try:
            with self._translated():
                migrate(self._db)
        except PilotError:
            super().close()
            raise

    def close(self) -> None:
        """Fold the write-ahead log into the file and close it."""
        with contextlib.suppress(sqlite3.Error):
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        super().close()

    # pilots

    def add_pilot(self, **facts: Any) -> int:
        """Note that a pilot started; the number it is known by here."""
        row = {"started": time.time(), **facts}
        marks = ", ".join("?" * len(row))
        cursor = self._write(f"INSERT INTO pilots ({', '.join(row)}) VALUES ({marks})", tuple(row.values()))
        return int(cursor.lastrowid or 0)

    def end_pilot(self, pilot: int, exit_code: int, cpu_s: float | None = None) -> None:
        """Note that it ended; `cpu_s` is what it and all that it started used."""
        row = (time.time(), exit_code, cpu_s, pilot)
        self._write("UPDATE pilots SET ended = ?, exit_code = ?, cpu_s = ? WHERE pilot = ?", row)

    # jobs

    def add_job(self, definition: JobDefinition, job: Job, facts: Facts, directory: str, pilot: int) -> bool:
        """Take a job in; False if this attempt is here already."""
        cursor = self._write(
            "INSERT OR IGNORE INTO jobs (key, job_id, attempt, task_id, name, phase, directory, definition, facts,"
            " acquired, updated, pilot) VALUES (?,?,?,?,?,?,?,?,?,?,?,?)",
            (
                job.key,
                definition.job_id,
                definition.attempt,
                definition.task_id,
                definition.name,
                job.phase,
                directory,
                json_text(definition.raw),
                json_text(facts),
                facts.acquired,
                time.time(),
                pilot,
            ),
        )
        return cursor.rowcount == 1

    def save(self, job: Job, facts: Facts, event: str) -> None:
        """Write where the job is now, what is known of it, and the event that brought it there."""
        now = time.time()
        job, facts = self._clean(job), self._clean(facts)
        done = job.phase is Phase.DONE
        outcome = None if job.phase not in (Phase.REPORTING, Phase.DONE) else "failed" if job.error else "finished"
        error = json_text(job.error) if job.error else None
        with self.transaction():
            self._write(
                "UPDATE jobs SET phase=?, stopping=?, error_code=?, error=?, exit_code=?, outcome=?, facts=?,"
                " updated=?, ended=? WHERE key=?",
                (
                    job.phase,
                    job.stopping,
                    job.error.code if job.error else None,
                    error,
                    facts.exit.status if facts.exit else None,
                    outcome,
                    json_text(facts),
                    now,
                    now if done else None,
                    job.key,
                ),
            )
            self._write(
                "INSERT INTO phases (key, at, event, phase, error) VALUES (?,?,?,?,?)",
                (job.key, now, event, job.phase, error),
            )

    def unfinished(self) -> list[StoredJob]:
        """The jobs that no server has heard the end of, oldest first."""
        rows = self._db.execute(
            "SELECT key, phase, stopping, error, facts, definition, directory FROM jobs"
            " WHERE phase <> 'done' ORDER BY acquired"
        )
        return [
            StoredJob(
                Job(key, Phase(phase), msgspec.json.decode(error, type=Failure) if error else None, bool(stopping)),
                msgspec.json.decode(facts, type=Facts),
                msgspec.json.decode(definition),
                directory,
            )
            for key, phase, stopping, error, facts, definition, directory in rows
        ]

    def knows(self, key: str) -> bool:
        """Whether this attempt of a job has ever been taken in."""
        return self._db.execute("SELECT 1 FROM jobs WHERE key = ?", (key,)).fetchone() is not None

    # samples

    def add_sample(self, key: str, sample: Sample) -> None:
        """Write one look at a payload."""
        values = [getattr(sample, name) for name in _SAMPLE_FIELDS]
        columns = ", ".join(_SAMPLE_FIELDS)
        marks = ", ".join("?" * len(values))
        self._write(f"INSERT OR REPLACE INTO samples (key, {columns}) VALUES (?, {marks})", (key, *values))

    def memory_series(self, key: str) -> tuple[list[float], list[float]]:
        """The times (epoch s) and PSS + swap (kB) of a payload's samples."""
        rows = self._db.execute("SELECT at, pss_kb + swap_kb FROM samples WHERE key = ? ORDER BY at", (key,)).fetchall()
        return [row[0] for row in rows], [float(row[1]) for row in rows]
