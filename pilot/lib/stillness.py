"""Threads that hang in the kernel: uninterruptible, and without a single switch of context for a time."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable

_STATUS = re.compile(r"^State:\s+(\w).*^voluntary_ctxt_switches:\s+(\d+)", re.MULTILINE | re.DOTALL)


class Stillness:
    """Remembers what it saw. A thread that reads or writes slowly moves now and then; one that hangs never does."""

    def __init__(self, after_s: float) -> None:
        self._after_s = after_s
        self._seen: dict[int, tuple[int, float]] = {}

    def found(self, threads: Iterable[int]) -> list[int]:
        """Those of these threads of this process (by their numbers) that have not moved for `after_s` s."""
        now = time.monotonic()
        seen: dict[int, tuple[int, float]] = {}
        for thread in threads:
            if (switches := _hanging(thread)) is not None:
                before = self._seen.get(thread)
                seen[thread] = before if before is not None and before[0] == switches else (switches, now)
        self._seen = seen
        return [thread for thread, (_, since) in seen.items() if now - since >= self._after_s]


def _hanging(thread: int) -> int | None:
    """Its number of switches of context if it waits uninterruptibly, else None."""
    try:
        with open(f"/proc/self/task/{thread}/status", encoding="ascii", errors="replace") as file:
            found = _STATUS.search(file.read())
    except OSError:
        return None
    return int(found[2]) if found and found[1] == "D" else None
