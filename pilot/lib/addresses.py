"""Which of a server's addresses is used: one name may stand for several machines, some of which may be down."""

from __future__ import annotations

import random
import socket
import time
from typing import Any

#: How long an address that did not serve us is only a last resort.
_SHUNNED_S = 300.0


class Dialer:
    """Opens connections for one `Connection`. Of a name with several addresses any is taken, in random order; those
    that failed of late come last. Not for several threads at once."""

    def __init__(self) -> None:
        self._blamed: dict[Any, float] = {}
        self._last: Any = None

    def dial(
        self, address: tuple[str, int], timeout: float | None = None, source: tuple[str, int] | None = None
    ) -> socket.socket:
        """A connection to the first address that takes one, as `socket.create_connection`; raises `OSError`."""
        found = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)
        random.shuffle(found)
        now = time.monotonic()
        found.sort(key=lambda info: self._blamed.get(info[4], 0.0) > now)
        failure: OSError = OSError(f"{address[0]} has no address")
        for family, kind, protocol, _, where in found:
            line = socket.socket(family, kind, protocol)
            self._last = where
            try:
                if timeout is not None:
                    line.settimeout(timeout)
                if source:
                    line.bind(source)
                line.connect(where)
            except OSError as error:
                line.close()
                self.blame()
                failure = error
            else:
                return line
        raise failure

    def blame(self) -> None:
        """The address that was used last did not serve: others are tried first for some time."""
        if self._last is not None:
            self._blamed[self._last] = time.monotonic() + _SHUNNED_S
