"""What attempts tell of the speed of their sources. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from pilot.core.transfer import Attempt, Outcome
from pilot.lib.urls import host_of

#: Smaller files tell how fast a server answers, not how fast it sends.
_LEAST_BYTES = 64 * 1024
#: What a source is taken for that failed for a reason which may pass.
_FAILING = 1000.0


def speeds_of(outcomes: Iterable[Outcome]) -> dict[str, float]:
    """Bytes/s by remote host, over all that it sent; a host that only failed counts as a very slow one."""
    sums: dict[str, tuple[int, float]] = {}
    failing: set[str] = set()
    for attempt in (attempt for outcome in outcomes for attempt in outcome.attempts):
        host = host_of(attempt.source)
        if not host or attempt.in_place:
            continue
        if _failed(attempt):
            failing.add(host)
        elif attempt.failure is None and attempt.size >= _LEAST_BYTES and attempt.seconds > 0:
            size, seconds = sums.get(host, (0, 0.0))
            sums[host] = (size + attempt.size, seconds + attempt.seconds)
    slow = dict.fromkeys(failing, _FAILING)
    return {**slow, **{host: size / seconds for host, (size, seconds) in sums.items()}}


def _failed(attempt: Attempt) -> bool:
    return attempt.failure is not None and attempt.failure.retry
