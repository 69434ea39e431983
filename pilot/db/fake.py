"""Twins of the PilotDB for tests: in memory, and one whose disk fills up or whose pilot dies at a chosen commit."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pilot.core.errors import NoLocalSpace
from pilot.db.store import Store


class MemoryStore(Store):
    """Keeps everything in memory."""

    def __init__(self) -> None:
        super().__init__(":memory:")


class Died(BaseException):
    """Stands for the death of the pilot: nothing catches it."""


class ChaosStore(Store):
    """A PilotDB with knobs. Commits are counted from 1, and so is everything that the knobs say.

    `full(n)` True: commit n fails for lack of space. `dies_before` and `dies_after`: the commit at which the pilot
    dies, just before or just after the data are on disk. `names` holds what each commit was about: the first words
    of its first statement.
    """

    def __init__(self, path: Path | str = ":memory:") -> None:
        self.commits = 0
        self.names: list[str] = []
        self.full: Callable[[int], bool] = lambda number: False
        self.dies_before = self.dies_after = 0
        self._first = ""
        super().__init__(path)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """As in the real one, with the knobs at the commit."""
        if self._db.in_transaction:
            yield
            return
        self._first = ""
        with super().transaction():
            yield
            self._knobs()
        self._after()

    def _write(self, sql: str, values: Sequence[Any]) -> sqlite3.Cursor:
        if self._db.in_transaction:
            self._first = self._first or sql
            return super()._write(sql, values)
        self._first = sql
        self._knobs()
        cursor = super()._write(sql, values)
        self._after()
        return cursor

    def _knobs(self) -> None:
        self.commits += 1
        self.names.append(" ".join(self._first.split()[:3]))
        if self.full(self.commits):
            raise NoLocalSpace(f"the PilotDB {self.path} could not be written: database or disk is full")
        if self.commits == self.dies_before:
            raise Died

    def _after(self) -> None:
        if self.commits == self.dies_after:
            raise Died
