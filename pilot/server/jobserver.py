"""What every method of the server has at hand."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from pilot.server.credentials import Credentials
from pilot.server.limits import Limits
from pilot.server.store import Store

T = TypeVar("T")
Clock = Callable[[], float]


@dataclass(frozen=True)
class JobServer:
    """The database, the clock (seconds since 1970), how patient the server is and what it can hand out.

    `credentials` is None for a server that asks nobody who he is.
    """

    store: Store
    clock: Clock
    limits: Limits
    credentials: Credentials | None = None

    async def do(self, work: Callable[[sqlite3.Connection, float], T]) -> T:
        """Runs `work(db, now)` in a transaction; returns after the commit."""
        return await self.store.run(lambda db: work(db, self.clock()))

    def pilot_secrets(self, command: str | None) -> dict[str, str] | None:
        """What only the pilot of a job in debug mode is told."""
        secrets = self.credentials.pilot_secrets if self.credentials else {}
        return dict(secrets) if secrets and command and "debug" in command.split(",") else None
