"""A cap on what runs against one host at once, shared by everything that one pilot moves."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from pilot.lib.cancel import Cancel
from pilot.plugins.copytools.base import Fault, ToolError


class HostGate:
    """Lets at most `limit` callers at once through for one host; local work passes freely."""

    def __init__(self, limit: int) -> None:
        self._limit = max(1, limit)
        self._busy: Counter[str] = Counter()
        self._turn = threading.Condition()

    @contextmanager
    def passing(self, host: str, cancel: Cancel) -> Iterator[None]:
        """Wait for a place, keep it for the block. Raises `ToolError` when cancelled while waiting."""
        if not host:
            yield
            return
        with cancel.calling(self._wake), self._turn:
            while self._busy[host] >= self._limit:
                if cancel.is_set():
                    raise ToolError(Fault.CANCELLED)
                self._turn.wait()
            self._busy[host] += 1
        try:
            yield
        finally:
            with self._turn:
                self._busy[host] -= 1
                self._turn.notify_all()

    def _wake(self) -> None:
        with self._turn:
            self._turn.notify_all()
