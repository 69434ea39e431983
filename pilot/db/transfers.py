"""What came of moving each file, every attempt at it, and what was seen of payloads, in the PilotDB."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from pilot.core.transfer import Attempt, Outcome
from pilot.db.connection import Connection, json_text


class Transfers(Connection):
    """The part of `Store` that keeps them. `clean` takes known secrets out of what is written."""

    _clean: Callable[[Any], Any]

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
                        json_text(outcome.checksums),
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
        with self._translated():
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
