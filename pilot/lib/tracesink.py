"""Sends trace reports in a thread of its own: whoever has one to tell neither waits nor hears of a failure."""

from __future__ import annotations

import json
import queue
import socket
import threading
from collections.abc import Mapping
from typing import Any

from pilot.lib.cancel import Cancel
from pilot.lib.httpanswer import ProtocolError
from pilot.lib.httpfile import exchange
from pilot.lib.httppool import Connection, Pool, Tls, split

_MOST_WAITING = 1000


class TraceSink:
    """Posts JSON objects to one URL, over one connection, in order. `put` may be called from any thread.

    A trace whose `ip` is empty gets the address of this machine that the URL's server sees.
    What cannot be delivered, or comes when too many wait, is counted in `lost` and `error` tells why the last time:
    a job never fails for its traces.
    """

    def __init__(self, url: str, tls: Tls | None = None, timeout_s: float = 20.0) -> None:
        self.url = url
        self.sent = 0
        self.lost = 0
        self.error = ""
        self._timeout_s = timeout_s
        self._pool = Pool(tls or Tls(), timeout_s)
        self._cancel = Cancel()
        self._waiting: queue.Queue[Mapping[str, Any] | None] = queue.Queue(_MOST_WAITING)
        self._thread = threading.Thread(target=self._run, name="traces", daemon=True)
        self._thread.start()

    def put(self, trace: Mapping[str, Any]) -> None:
        """Have it sent some time."""
        try:
            self._waiting.put_nowait(trace)
        except queue.Full:
            self.lost += 1
            self.error = "too many traces wait"

    def close(self, patience_s: float = 5.0) -> None:
        """Send what waits, for so long at most, and end the thread."""
        try:
            self._waiting.put(None, timeout=patience_s)
            self._thread.join(patience_s)
        except queue.Full:
            pass
        self._cancel.set()
        self._thread.join()
        self._pool.close()

    def _run(self) -> None:
        while (trace := self._next()) is not None:
            try:
                if not trace.get("ip", True):
                    trace = {**trace, "ip": own_address(self.url)}
                self._post(json.dumps(trace).encode())
                self.sent += 1
            except (OSError, ProtocolError, ValueError) as error:
                self.lost += 1
                self.error = str(error)

    def _next(self) -> Mapping[str, Any] | None:
        return None if self._cancel.is_set() else self._waiting.get()

    def _post(self, body: bytes) -> None:
        def send(connection: Connection) -> None:
            if connection.sock is not None:
                connection.sock.sendall(body)

        headers = {"Content-Type": "application/json", "Content-Length": str(len(body))}
        with exchange(
            self._pool, "POST", self.url, headers, cancel=self._cancel, stall_s=self._timeout_s, body=send
        ) as answer:
            text = answer.excerpt()
            if answer.status not in (200, 201, 202, 204):
                raise OSError(f"{answer.status} {answer.reason} {text}")


def own_address(url: str) -> str:
    """The address from which this machine would reach a URL's host; empty where that cannot be known. Sends nothing."""
    try:
        place, _ = split(url)
        found = socket.getaddrinfo(place.host, place.port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(found[0], socket.SOCK_DGRAM) as probe:
            probe.connect(found[4])
            return str(probe.getsockname()[0])
    except (OSError, ValueError):
        return ""
