"""Several targets of one transfer: fed from one read, and merged into one outcome."""

from __future__ import annotations

import os
from collections.abc import Sequence

import msgspec

from pilot.core.errors import BadQueueConfiguration
from pilot.core.transfer import Outcome, Transfer
from pilot.lib.files import local_path
from pilot.lib.sharedread import SharedRead
from pilot.staging.work import Work

#: Smaller files stay in memory between two reads anyway.
_SHARED_FROM = 4 << 20


def merge_targets(transfers: Sequence[Transfer], works: Sequence[Work]) -> list[Outcome]:
    """One outcome for each transfer: that of its first target, failed if any of its targets was not reached."""
    found: list[list[Work]] = [[] for _ in transfers]
    for work in works:
        found[work.index].append(work)
    return [_merge(transfer, mine) for transfer, mine in zip(transfers, found, strict=True)]


def _merge(transfer: Transfer, works: Sequence[Work]) -> Outcome:
    if not works or works[0].outcome is None:
        untold = BadQueueConfiguration(f"{transfer.lfn} has no target").failure()
        return Outcome(transfer.lfn, transfer.direction, failure=untold)
    first = works[0].outcome
    attempts = tuple(attempt for work in works for attempt in work.attempts)
    failure = first.failure
    for work in works[1:]:
        other = work.outcome.failure if work.outcome else None
        if other:
            failure = failure.with_cause(other) if failure else other
    return msgspec.structs.replace(first, attempts=attempts, failure=failure)


def share_reads(works: Sequence[Work]) -> None:
    """Have the targets of one large local file fed from one read."""
    together: dict[int, list[Work]] = {}
    for work in works:
        if len(work.transfer.targets) > 1 and len(work.sources) == 1 and work.outcome is None:
            together.setdefault(work.index, []).append(work)
    for mine in together.values():
        path = local_path(mine[0].sources[0].place.url)
        if path is None or len(mine) < 2 or _size(path) < _SHARED_FROM:
            continue
        shared = SharedRead(path, len(mine))
        for number, work in enumerate(mine):
            work.feed = shared.feed(number)


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0
