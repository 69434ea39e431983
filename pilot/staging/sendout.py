"""Stage-out with a second choice: what the first storage does not take goes to the next one of the queue's ring."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from pilot.core.job import JobDefinition
from pilot.core.storage import StagingSite
from pilot.core.transfer import Outcome, Transfer
from pilot.lib.cancel import Cancel
from pilot.staging.course import OnAttempt
from pilot.staging.plan import plan_alternative
from pilot.staging.transfer import Transferer

#: Faults of the file or of its source: no other storage helps against them.
_NOT_THE_STORAGE = frozenset({1165, 1103, 1190, 1371, 1221})


def send_out(
    transferer: Transferer,
    transfers: Sequence[Transfer],
    definition: JobDefinition,
    site: StagingSite,
    *,
    cancel: Cancel,
    on_attempt: OnAttempt | None = None,
) -> list[Outcome]:
    """Carry out; files that their storage refused are sent to the next one, once, all together.

    A file with several targets has no second choice: no other storage is what its class asks for.

    One outcome for each transfer, in order. The outcome of a file that found another place names that storage; its
    attempts are those of both.
    """
    outcomes = transferer.carry_out(transfers, cancel=cancel, on_attempt=on_attempt)
    lost = [
        number
        for number, outcome in enumerate(outcomes)
        if outcome.failure is not None
        and outcome.failure.code not in _NOT_THE_STORAGE
        and len(transfers[number].targets) == 1
    ]
    if not lost or cancel.is_set():
        return outcomes
    refused = [transfers[number] for number in lost]
    again = plan_alternative(refused, definition, site, refused[0].targets[0].rse, transferer.toolbox.sends)
    for number, second in zip(lost, transferer.carry_out(again, cancel=cancel, on_attempt=on_attempt), strict=False):
        first = outcomes[number]
        if second.failure is None:
            outcomes[number] = msgspec.structs.replace(second, attempts=(*first.attempts, *second.attempts))
        elif first.failure is not None:
            failure = first.failure.with_cause(second.failure)
            outcomes[number] = msgspec.structs.replace(
                first, attempts=(*first.attempts, *second.attempts), failure=failure
            )
    return outcomes
