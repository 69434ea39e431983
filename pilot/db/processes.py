"""The processes that were started for jobs: a later pilot finds here what an earlier one may have left running."""

from __future__ import annotations

import time
from collections.abc import Sequence

import msgspec

from pilot.db.connection import Connection


class Process(msgspec.Struct, frozen=True):
    """A payload process that was started and of which no end is known. `identity` is JSON of lib.process."""

    id: int
    key: str
    identity: str
    container: str


class Processes(Connection):
    """The part of `Store` that keeps them."""

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
