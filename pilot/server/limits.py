"""How patient the server is."""

from __future__ import annotations

import msgspec


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How long a pilot may be silent, in s, by where its job is (protocol.md 3.2), and how long the adder waits."""

    sent_s: float = 1800
    heartbeat_s: float = 7200
    holding_user_s: float = 10800
    holding_s: float = 172800
    adder_delay_s: float = 0

    @property
    def shortest_s(self) -> float:
        """The time in which nothing can fall due that does not stand in the database yet."""
        waits = (self.sent_s, self.heartbeat_s, self.holding_user_s, self.holding_s, self.adder_delay_s)
        return min(wait for wait in waits if wait > 0)
