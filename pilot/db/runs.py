"""What each payload run took of the worker: for the accounting of a batch job by the jobs that it ran."""

from __future__ import annotations

import time

from pilot.db.connection import Connection

SCHEMA = """
ALTER TABLE pilots ADD COLUMN cores INTEGER;
ALTER TABLE pilots ADD COLUMN cpu_s REAL;
CREATE TABLE runs (
  key TEXT NOT NULL, run INTEGER NOT NULL, pilot INTEGER NOT NULL, cores INTEGER NOT NULL, started REAL NOT NULL,
  ended REAL, cpu_s REAL, PRIMARY KEY (key, run)
) WITHOUT ROWID;
"""


class Runs(Connection):
    """The part of `Store` that keeps them."""

    def begin_run(self, key: str, run: int, pilot: int, cores: int) -> None:
        """A payload is about to start for the `run`-th time, with so many cores of this pilot's."""
        row = (key, run, pilot, cores, time.time())
        self._write("INSERT OR REPLACE INTO runs (key, run, pilot, cores, started) VALUES (?,?,?,?,?)", row)

    def end_run(self, key: str, run: int, cpu_s: float | None) -> None:
        """It has ended; `cpu_s` is what it was seen to use, None if nobody looked."""
        self._write("UPDATE runs SET ended=?, cpu_s=? WHERE key=? AND run=?", (time.time(), cpu_s, key, run))
