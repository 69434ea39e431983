"""What an event service job is told beforehand, whom it orders about, and what it tells at its end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from pilot.core.ranges import Chunk, EventRange
from pilot.core.rangestate import RangeState, StoredArchive
from pilot.runtime.demand import DEFAULT, Limits
from pilot.runtime.eventoutput import OutputHands, OutputLimits
from pilot.runtime.ledger import Ledger


class Plan(msgspec.Struct, frozen=True):
    """What is known of the job beforehand: `workers` that are expected, `cores` of each, `tell_s`, the seconds between
    two reports of outcomes that are in no archive, and `answer_s` that the server usually takes. After `tell_tries`
    answers in a row that stored no outcome the server is told no more (0: for ever)."""

    workers: int = 1
    cores: int = 1
    tell_s: float = 10.0
    tell_tries: int = 0
    answer_s: float = 0.5
    demand: Limits = DEFAULT
    outputs: OutputLimits = OutputLimits()


class Hands(OutputHands, Protocol):
    """Carries out what the job orders, and answers by calling it."""

    def ask(self, count: int) -> None:
        """Ask the server for up to `count` ranges. Answer: `granted` or `not_granted`."""

    def tell(self, chunks: Sequence[Chunk]) -> None:
        """Tell the server. Answer: `told` or `not_told`."""

    def save(self, archives: Sequence[StoredArchive]) -> None:
        """Write the ledger's unwritten rows and these archives to the PilotDB, now."""

    def drop_outputs(self, paths: Sequence[str]) -> None:
        """The outputs are in an archive: their own files may go."""

    def present(self, item: EventRange) -> EventRange | None:
        """The range as a worker shall see it (`path`), or None while its input is on its way: then `input_came`."""

    def outside(self, path: str) -> str:
        """A path that a worker told, as it is called outside its container."""

    def wake(self) -> None:
        """Have `step` called soon."""

    def over(self) -> None:
        """Everything that can be settled is settled: the last order."""


class Summary(msgspec.Struct, frozen=True):
    """How a job's ranges ended. `events` and the times count ranges that were worked through."""

    granted: int
    finished: int
    failed: int
    returned: int
    events: int
    cpu_s: float
    wall_s: float
    workers: int


def summary_of(ledger: Ledger, workers: int) -> Summary:
    """What has become of a job's ranges so far; `workers` were at work at most at once."""
    return Summary(
        granted=len(ledger),
        finished=ledger.finished,
        failed=ledger.count(RangeState.FAILED, RangeState.TOLD_FAILED),
        returned=ledger.count(RangeState.RETURNED, RangeState.REFUSED),
        events=ledger.events_done,
        cpu_s=ledger.cpu_s,
        wall_s=ledger.wall_s,
        workers=workers,
    )
