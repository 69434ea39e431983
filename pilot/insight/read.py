"""Reading the PilotDB: everything that `show`, `status` and the reports know comes from here. Never writes."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

from pilot.core.errors import FileHandlingFailure

_JSON_COLUMNS = frozenset({"error", "definition", "facts", "checksums", "body", "answer", "identity", "plan"})


class Reader:
    """A read-only view of one PilotDB; sees every commit of a running pilot. Errors: `FileHandlingFailure`."""

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise FileHandlingFailure(f"there is no PilotDB {path}: name it with --db or go to the work directory")
        self._db = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10.0)
        self._db.row_factory = sqlite3.Row

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def jobs(self) -> list[dict[str, Any]]:
        """All jobs, the oldest first, a row each."""
        return self._rows(
            "SELECT key, job_id, attempt, name, phase, outcome, error_code, error, exit_code, directory, facts,"
            " acquired, updated, ended FROM jobs ORDER BY acquired, key"
        )

    def find(self, word: str) -> list[str]:
        """The keys of the jobs that a person may mean: a key, a PandaID, or a directory's name."""
        word = word.removeprefix("job-").rstrip("/")
        rows = self._rows("SELECT key FROM jobs WHERE key = ? OR CAST(job_id AS TEXT) = ? ORDER BY attempt", word, word)
        return [row["key"] for row in rows]

    def job(self, key: str) -> dict[str, Any]:
        """Everything about one attempt."""
        found = self._rows("SELECT * FROM jobs WHERE key = ?", key)[0]
        found["phases"] = self._rows("SELECT at, event, phase, error FROM phases WHERE key = ? ORDER BY id", key)
        found["files"] = self._rows("SELECT * FROM files WHERE key = ? ORDER BY direction, lfn", key)
        found["transfers"] = self._rows("SELECT * FROM transfers WHERE key = ? ORDER BY id", key)
        found["plan"] = self.plan(key)
        found["messages"] = self._rows(
            "SELECT id, state, final, created, tries, sent, answered, accepted, answer FROM messages WHERE key = ?"
            " ORDER BY id",
            key,
        )
        found["processes"] = self._rows("SELECT * FROM processes WHERE key = ? ORDER BY id", key)
        found["samples"] = self._rows("SELECT count(*) AS n, max(at) AS last FROM samples WHERE key = ?", key)[0]
        return found

    def plan(self, key: str) -> list[dict[str, Any]]:
        """What was planned for each file of a job, inputs first (`core.plan.FilePlan`); empty before anything was, and
        where a pilot wrote the PilotDB that kept no plans."""
        if not self._rows("SELECT 1 FROM sqlite_master WHERE name = 'plans'"):
            return []
        rows = self._rows("SELECT plan FROM plans WHERE key = ? ORDER BY part = 'in' DESC, part = 'log'", key)
        return [file for row in rows for file in row["plan"]]

    def samples(self, key: str) -> list[dict[str, Any]]:
        """The time series of one payload."""
        return self._rows("SELECT * FROM samples WHERE key = ? ORDER BY at", key)

    def runs(self, pilot: int) -> list[dict[str, Any]]:
        """The payload runs of one pilot, the oldest first. `last` is when it was last heard of the job; `events` those
        that the job has worked through, told with its last run."""
        return self._rows(
            "SELECT r.*, j.job_id, j.attempt, max(r.started, coalesce(r.ended, 0), coalesce(s.at, 0)) AS last,"
            " CASE WHEN r.run = (SELECT max(run) FROM runs WHERE key = r.key)"
            " THEN json_extract(j.facts, '$.events') END AS events"
            " FROM runs r JOIN jobs j USING (key)"
            " LEFT JOIN (SELECT key, max(at) AS at FROM samples GROUP BY key) s USING (key)"
            " WHERE r.pilot = ? ORDER BY r.started, r.key",
            pilot,
        )

    def range_counts(self, key: str) -> dict[int, int]:
        """How many event ranges of a job are in which `core.rangestate.RangeState`; empty for a job without any."""
        rows = self._rows("SELECT state, count(*) AS n FROM event_ranges WHERE key = ? GROUP BY state", key)
        return {row["state"]: row["n"] for row in rows}

    def ranges(self, key: str, rest: str, *values: object) -> list[dict[str, Any]]:
        """Event ranges of a job; `rest` is SQL that goes on after `WHERE key = ?`."""
        return self._rows(
            "SELECT n, id, lfn, start_event, last_event, state, tries, archive, output, cpu_s, wall_s, failure AS why,"
            f" fatal FROM event_ranges JOIN event_files USING (key, file) WHERE key = ? {rest}",
            key,
            *values,
        )

    def event_archives(self, key: str) -> list[dict[str, Any]]:
        """The archives of a job's event ranges."""
        return self._rows("SELECT * FROM event_archives WHERE key = ? ORDER BY archive", key)

    def pilots(self) -> list[dict[str, Any]]:
        """The pilots that have worked here, the oldest first."""
        return self._rows("SELECT * FROM pilots ORDER BY pilot")

    def _rows(self, sql: str, *values: object, again: bool = True) -> list[dict[str, Any]]:
        try:
            return [_decoded(row) for row in self._db.execute(sql, values)]
        except sqlite3.Error as error:
            if again and "no such table" in str(error):  # the pilot has opened the file and is about to fill it
                filled = self._db.execute("PRAGMA user_version").fetchone()[0]
                return self._rows(sql, *values, again=False) if filled else []
            raise FileHandlingFailure(f"the PilotDB cannot be read: {error}") from error


def _decoded(row: sqlite3.Row) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in row.keys():  # noqa: SIM118 - iterating a Row gives its values
        value = row[name]
        if name in _JSON_COLUMNS and isinstance(value, str) and value[:1] in '{["':
            value = json.loads(value)
        found[name] = value
    return found
