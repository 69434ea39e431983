"""How a job takes in what comes in bulk: piece by piece, so that its workers are served in between. Sans I/O."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar

from pilot.core.rangestate import ArchiveState, RangeState, StoredArchive
from pilot.runtime.eventoutput import Outputs, members_of
from pilot.runtime.eventtelling import Telling
from pilot.runtime.ledger import Ledger

PIECE = 1000
"""About five milliseconds of work, the PilotDB's part included."""

T = TypeVar("T")


class Bulk(Generic[T]):
    """What came and is not taken in yet."""

    def __init__(self) -> None:
        self._items: Sequence[T] = ()
        self._at = 0

    def __bool__(self) -> bool:
        return self._at < len(self._items)

    def add(self, items: Sequence[T]) -> None:
        """More has come."""
        self._items, self._at = (*self._items[self._at :], *items) if self else items, 0

    def take(self, most: int = PIECE) -> Sequence[T]:
        """The next piece."""
        piece = self._items[self._at : self._at + most]
        self._at += len(piece)
        return piece


def take_up(ledger: Ledger, outputs: Outputs, telling: Telling, archives: Sequence[StoredArchive], now: float) -> None:
    """Go on where an earlier pilot was: outputs, archives and outcomes that nobody has heard of."""
    whole = {a.number: a for a in archives if a.state is ArchiveState.CLOSED}
    for number, members in members_of(ledger).items():
        if number in whole:
            outputs.take_up(whole[number], members)
        else:
            ledger.unpack(members)
    for n in ledger.in_state(RangeState.DONE):
        outputs.add(n, now, redoable=True)
    for state in (RangeState.STORED, RangeState.FAILED):
        telling.add(ledger.in_state(state))
