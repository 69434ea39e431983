"""What every method of the server has at hand."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from pilot.server.store import Store

T = TypeVar("T")
Clock = Callable[[], float]


@dataclass(frozen=True)
class JobServer:
    """The database and the clock (seconds since 1970)."""

    store: Store
    clock: Clock

    async def do(self, work: Callable[[sqlite3.Connection, float], T]) -> T:
        """Runs `work(db, now)` in a transaction; returns after the commit."""
        return await self.store.run(lambda db: work(db, self.clock()))
