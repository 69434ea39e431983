"""Several targets of one transfer, merged into one outcome."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from pilot.core.errors import BadQueueConfiguration
from pilot.core.transfer import Outcome, Transfer
from pilot.staging.work import Work


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
