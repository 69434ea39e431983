"""A connection to the PilotDB that writes: its mode, its transactions, and what sqlite's errors are to the pilot."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from pilot.core.errors import FileHandlingFailure, NoLocalSpace


class Connection:
    """Used by one thread. Every write outside `transaction` is a transaction of its own.

    Errors: `NoLocalSpace` when the disk is full, `FileHandlingFailure` for everything else that sqlite says.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = str(path)
        with self._translated():
            self._db = sqlite3.connect(self.path, isolation_level=None, timeout=30.0)
            try:
                self._db.execute("PRAGMA journal_mode=WAL")
                self._db.execute("PRAGMA synchronous=NORMAL")
            except sqlite3.Error:
                self._db.close()
                raise

    def close(self) -> None:
        """Close the connection; safe to call twice."""
        self._db.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing of what is written inside; may be nested, the outermost one commits."""
        if self._db.in_transaction:
            yield
            return
        with self._translated():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:  # whatever it is, no half transaction stays open; it goes on up
                if self._db.in_transaction:  # a full disk makes sqlite roll back by itself
                    with contextlib.suppress(sqlite3.Error):
                        self._db.execute("ROLLBACK")
                raise

    def _write(self, sql: str, values: Sequence[Any]) -> sqlite3.Cursor:
        with self._translated():
            return self._db.execute(sql, values)

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            if "full" in str(error) or "disk I/O" in str(error):
                raise NoLocalSpace(f"the PilotDB {self.path} could not be written: {error}") from error
            raise FileHandlingFailure(f"the PilotDB {self.path}: {error}") from error


def json_text(value: Any) -> str:
    """A value as the PilotDB keeps it in a column of text."""
    return msgspec.json.encode(value).decode()
