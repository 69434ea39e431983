"""What the server is told of one job's ranges: in bulk, one request at a time, until it has heard it. Sans I/O."""

from __future__ import annotations

import math

from pilot.core.errors import EventServiceFatal, EventServiceRecoverable, OutcomesNotStored, PilotError
from pilot.core.ranges import Archive, Chunk, RangeStatus, RangeUpdate, Told
from pilot.core.rangestate import RangeState, StoredArchive
from pilot.runtime.ledger import Ledger

_MOST = 10_000
_NAMED = 3
_FIRST_WAIT_S, _LONGEST_WAIT_S = 1.0, 120.0


class Telling:
    """The outcomes that are settled and not yet told. `archives` are those that a told range may be in.

    A server that is away is waited for. One that answers `tries` times in a row without storing anything is told no
    more (0: it is told for ever): `given_up` says so, and the outcomes stay untold in the ledger.
    """

    def __init__(self, ledger: Ledger, every_s: float = 10.0, cores: int = 1, tries: int = 0) -> None:
        self._ledger = ledger
        self._every_s = every_s
        self._cores = cores
        self._pending: list[int] = []
        self._in_flight: list[int] = []
        self._answered: list[tuple[int, bool | None]] = []
        self._failures = 0
        self._tries, self._unstored = tries, 0
        self.given_up: OutcomesNotStored | None = None
        self._not_before = -math.inf
        self._urgent = False
        self.archives: dict[int, StoredArchive] = {}

    @property
    def idle(self) -> bool:
        """Whether everything has been told, or nothing will be any more."""
        return self.given_up is not None or not (self._pending or self._in_flight)

    def add(self, numbers: list[int], urgent: bool = False) -> None:
        """These can be told; `urgent` ones are told at once, others with those of the next seconds."""
        self._pending.extend(numbers)
        self._urgent = self._urgent or (urgent and bool(numbers))

    def due(self) -> float | None:
        """When there is something to tell (monotonic s); None: not before something happens."""
        if self._in_flight or not self._pending or self.given_up:
            return None
        return -math.inf if self._urgent and not self._failures else self._not_before

    def take(self, now: float, hurry: bool = False) -> list[Chunk]:
        """What is to be told now, if it is time (or `hurry`): the answer is given to `told` or `not_told`."""
        when = self.due()
        if when is None or (now < when and (self._failures or not hurry)):
            return []
        numbers, self._pending = self._pending[:_MOST], self._pending[_MOST:]
        self._urgent = self._urgent and bool(self._pending)
        groups: dict[int, list[int]] = {}
        for n in numbers:
            stored = self._ledger.state(n) is RangeState.STORED
            groups.setdefault(self._ledger.archive(n) if stored else -1, []).append(n)
        self._in_flight = [n for group in groups.values() for n in group]
        self._not_before = now + self._every_s
        return [
            Chunk(tuple(self._update(n) for n in group), self._archive(archive, group))
            for archive, group in groups.items()
        ]

    def told(self, told: Told, now: float) -> None:
        """The server has answered: what it refuses for good is not said again."""
        answers = [*told.stored, *([True] * (len(self._in_flight) - len(told.stored)))]
        self._answered = list(zip(self._in_flight, answers, strict=False))[::-1]
        self._failures = self._unstored = 0
        self.settle()

    def settle(self, most: int = 1000) -> bool:
        """Note a part of what the server has answered, if it has; whether there is more."""
        if not self._answered:
            return False
        piece, self._answered = self._answered[-most:], self._answered[:-most]
        self._ledger.told(n for n, answer in piece if answer is not False)
        self._ledger.told((n for n, answer in piece if answer is False), stored=False)
        if not self._answered:
            self._in_flight = []
        return bool(self._answered)

    def not_told(self, now: float, error: PilotError | None = None) -> None:
        """The answer was lost, there was none, or it was `error`: the same is said again later, unless that was tried
        often enough."""
        self._pending = [*self._in_flight, *self._pending]
        self._in_flight = []
        self._failures += 1
        self._not_before = now + min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2 ** min(self._failures - 1, 10))
        if isinstance(error, OutcomesNotStored):
            self._unstored += 1
            if self._unstored == self._tries:
                self.given_up = OutcomesNotStored(f"{self._untold()} after {self._tries} requests: {error}")

    def _untold(self) -> str:
        """What the server does not know: how many, and the first of them."""
        numbers = self._pending
        good = sum(self._ledger.state(n) is RangeState.STORED for n in numbers)
        names = ", ".join(self._ledger.id(n) for n in numbers[:_NAMED]) + (", ..." if len(numbers) > _NAMED else "")
        return f"{len(numbers)} outcomes ({good} finished, {len(numbers) - good} failed: {names})"

    def _archive(self, number: int, group: list[int]) -> Archive | None:
        stored = self.archives.get(number)
        if stored is None:
            return None
        storage, _, convention = stored.storage_id.partition("/")
        return Archive(
            stored.lfn,
            storage or stored.rse,
            stored.size,
            stored.adler32,
            sum(self._ledger.events(n) for n in group),
            int(convention) if convention.isdigit() else None,
            stored.surl,
        )

    def _update(self, n: int) -> RangeUpdate:
        said = self._ledger.said(n)
        id = self._ledger.id(n)
        if self._ledger.state(n) is RangeState.STORED:
            return RangeUpdate(id, RangeStatus.FINISHED, self._cores, said.cpu_s, loss=said.loss)
        status = RangeStatus.FATAL if said.fatal else RangeStatus.FAILED
        code = (EventServiceFatal if said.fatal else EventServiceRecoverable).code
        return RangeUpdate(id, status, self._cores, said.cpu_s, error_code=code, error_text=said.failure[:500])
