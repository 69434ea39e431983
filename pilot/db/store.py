"""The PilotDB: the only SQL that writes. One connection, used by one thread.

sqlite in WAL mode with `synchronous=NORMAL`: what is committed survives a kill -9 of the pilot at any moment (it is in
the kernel's hands), and a commit costs tens of microseconds. Readers open the file on their own (`insight/read`).
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from pilot.core.errors import Failure, FileHandlingFailure, NoLocalSpace
from pilot.core.facts import Facts
from pilot.core.job import JobDefinition
from pilot.core.lifecycle import Job, Phase
from pilot.core.transfer import Attempt, Outcome
from pilot.core.update import Answer, JobUpdate
from pilot.core.usage import Sample
from pilot.db.runs import Runs
from pilot.db.schema import migrate

_SAMPLE_FIELDS = [f.name for f in msgspec.structs.fields(Sample)]


class StoredJob(msgspec.Struct, frozen=True):
    """A job as a restarted pilot finds it."""

    job: Job
    facts: Facts
    definition: dict[str, Any]
    directory: str


class OpenMessage(msgspec.Struct, frozen=True):
    """A message that no server has accepted yet."""

    id: int
    update: JobUpdate
    tries: int


class Process(msgspec.Struct, frozen=True):
    """A payload process that was started and of which no end is known. `identity` is JSON of lib.process."""

    id: int
    key: str
    identity: str
    container: str


class Store(Runs):
    """What the pilot knows, on disk. Every method outside `transaction` is a transaction of its own.

    `clean` takes known secrets out of what is written of a job's course; its description comes without them.
    Errors: `NoLocalSpace` when the disk is full, `FileHandlingFailure` for everything else that sqlite says.
    """

    def __init__(self, path: Path | str, clean: Callable[[Any], Any] = lambda value: value) -> None:
        self.path = str(path)
        self._clean = clean
        with _translated(self.path):
            self._db = sqlite3.connect(self.path, isolation_level=None, timeout=30.0)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            migrate(self._db)

    def close(self) -> None:
        """Fold the write-ahead log into the file and close it."""
        with contextlib.suppress(sqlite3.Error):
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._db.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing of what is written inside; may be nested, the outermost one commits."""
        if self._db.in_transaction:
            yield
            return
        with _translated(self.path):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:  # whatever it is, no half transaction stays open; it goes on up
                if self._db.in_transaction:  # a full disk makes sqlite roll back by itself
                    with contextlib.suppress(sqlite3.Error):
                        self._db.execute("ROLLBACK")
                raise

    # pilots

    def add_pilot(self, **facts: Any) -> int:
        """Note that a pilot started; the number it is known by here."""
        columns = ", ".join(facts)
        marks = ", ".join("?" * len(facts))
        cursor = self._write(
            f"INSERT INTO pilots (started, {columns}) VALUES (?, {marks})", (time.time(), *facts.values())
        )
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
                _text(definition.raw),
                _text(facts),
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
        error = _text(job.error) if job.error else None
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
                    _text(facts),
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

    # files and transfers

    def put_outcomes(self, key: str, outcomes: Iterable[Outcome], guids: dict[str, str] | None = None) -> None:
        """Write what came of transfers, and every attempt that was made."""
        with self.transaction():
            for outcome in map(self._clean, outcomes):
                self._write(
                    "INSERT OR REPLACE INTO files VALUES (?,?,?,?,?,?,?,?,?,?,?)",
                    (
                        key,
                        outcome.direction,
                        outcome.lfn,
                        "failed" if outcome.failure else "remote_io" if outcome.in_place else "transferred",
                        outcome.size,
                        _text(outcome.checksums),
                        (guids or {}).get(outcome.lfn),
                        outcome.source,
                        outcome.target,
                        outcome.rse,
                        outcome.failure.message if outcome.failure else None,
                    ),
                )
                self.add_attempts(key, outcome.attempts)

    def add_attempts(self, key: str, attempts: Sequence[Attempt]) -> None:
        """Write tries to move files."""
        if not attempts:
            return
        with _translated(self.path):
            self._db.executemany(
                "INSERT INTO transfers (key, lfn, direction, copytool, source, target, rse, started, seconds,"
                " checksum_seconds, size, error_code, error) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)",
                [
                    (key, a.lfn, a.direction, a.copytool, a.source, a.target, a.rse, a.started, a.seconds)
                    + (a.checksum_seconds, a.size)
                    + ((a.failure.code, a.failure.message) if a.failure else (None, None))
                    for a in attempts
                ],
            )

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

    # messages

    def put_message(self, update: JobUpdate, in_flight: Iterable[int] = ()) -> int:
        """Have the server told. A waiting message that is not final is overtaken by this one; a final one never is.

        What an overtaken message would have shown of the payload (`stdout`) is not lost if this one shows nothing.
        """
        with self.transaction():
            sql = "SELECT id, json_extract(body, '$.stdout') FROM messages WHERE key=? AND final=0 AND accepted IS NULL"
            waiting = {id: said for id, said in self._db.execute(sql, (update.key,)) if id not in set(in_flight)}
            for old, said in waiting.items():
                update = update if update.stdout or not said else msgspec.structs.replace(update, stdout=said)
                self._write(
                    "UPDATE messages SET accepted=0, answer='overtaken', answered=? WHERE id=?", (time.time(), old)
                )
            cursor = self._write(
                "INSERT INTO messages (key, state, final, body, created) VALUES (?,?,?,?,?)",
                (update.key, update.state, update.state.final, _text(self._clean(update)), time.time()),
            )
        return int(cursor.lastrowid or 0)

    def open_messages(self) -> list[OpenMessage]:
        """What no server has accepted yet, oldest first."""
        rows = self._db.execute("SELECT id, body, tries FROM messages WHERE accepted IS NULL ORDER BY id")
        return [OpenMessage(id, msgspec.json.decode(body, type=JobUpdate), tries) for id, body, tries in rows]

    def tried(self, ids: Sequence[int]) -> None:
        """Note that these messages are being sent."""
        now = time.time()
        with self.transaction():
            for id in ids:
                self._write("UPDATE messages SET tries = tries + 1, sent = ? WHERE id = ?", (now, id))

    def answered(self, id: int, answer: Answer) -> None:
        """Note what the server said; a message that may be said again stays open."""
        accepted = 1 if answer.accepted else None if answer.retry else 0
        self._write(
            "UPDATE messages SET answered=?, accepted=?, answer=? WHERE id=?",
            (time.time(), accepted, _text(msgspec.structs.replace(answer, secrets={})), id),
        )

    def final_answered(self, key: str) -> bool:
        """Whether a server has answered the job's final report, be it with a refusal for good."""
        sql = "SELECT 1 FROM messages WHERE key = ? AND final = 1 AND accepted IS NOT NULL"
        return self._db.execute(sql, (key,)).fetchone() is not None

    def drop_message(self, id: int, why: str) -> None:
        """Note that a message will not be sent any more, and why."""
        self._write("UPDATE messages SET answered=?, accepted=0, answer=? WHERE id=?", (time.time(), why, id))

    # processes

    def add_process(self, key: str, identity: str, container: str = "") -> int:
        """Note that a process was started for the job, so that a later pilot can prove it is ours and end it."""
        cursor = self._write(
            "INSERT INTO processes (key, identity, container, started) VALUES (?,?,?,?)",
            (key, identity, container, time.time()),
        )
        return int(cursor.lastrowid or 0)

    def end_processes(self, key: str) -> None:
        """Note that nothing of the job is running any more."""
        self._write("UPDATE processes SET ended=? WHERE key=? AND ended IS NULL", (time.time(), key))

    def settle(self, ids: Sequence[int]) -> None:
        """Note that these processes are known to be gone."""
        now = time.time()
        with self.transaction():
            for id in ids:
                self._write("UPDATE processes SET ended=? WHERE id=? AND ended IS NULL", (now, id))

    def living_processes(self) -> list[Process]:
        """Processes whose end nobody noted."""
        rows = self._db.execute("SELECT id, key, identity, container FROM processes WHERE ended IS NULL")
        return [Process(id, key, identity, container or "") for id, key, identity, container in rows]

    def _write(self, sql: str, values: Sequence[Any]) -> sqlite3.Cursor:
        with _translated(self.path):
            return self._db.execute(sql, values)


@contextlib.contextmanager
def _translated(path: str) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        if "full" in str(error) or "disk I/O" in str(error):
            raise NoLocalSpace(f"the PilotDB {path} could not be written: {error}") from error
        raise FileHandlingFailure(f"the PilotDB {path}: {error}") from error


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()
