"""Event ranges in memory for tests, with knobs for everything that a server may do wrong."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence

from pilot.core.errors import CommunicationFailure, PilotError
from pilot.core.ranges import Chunk, Consumer, EventRange, Granted, KnownRange, RangeStatus, RangeUpdate, Told


class DummyEvents:
    """Cuts `events` events of one input into ranges of `per_range` and remembers all that it was told of them.

    Like a server it stores the first final word on a range and takes repetitions of it without effect. Knobs:
    `delay_s` before every answer; `faults`, each raised once instead of an answer (None: no fault this time);
    `lose_answers` n: the next n updates are stored but their answer is lost; `commands`: the next answers' words.
    """

    answer_s = 0.5

    def __init__(self, events: int = 100, per_range: int = 10, lfn: str = "events.in", job: int = 1) -> None:
        self.ranges = [
            EventRange(f"9-{job}-1-{n + 1}-1", lfn, first + 1, min(first + per_range, events), "GUID", "test")
            for n, first in enumerate(range(0, events, per_range))
        ]
        self.ready = deque(self.ranges)
        self.sent: dict[str, EventRange] = {}
        self.told: dict[str, RangeUpdate] = {}
        self.archives: list[Chunk] = []
        self.conflicts: list[tuple[RangeUpdate, RangeUpdate]] = []
        self.asked: list[int] = []
        self.delay_s = 0.0
        self.faults: deque[PilotError | None] = deque()
        self.lose_answers = 0
        self.commands: deque[str] = deque()
        self._guard = threading.Lock()
        self._never = threading.Event()

    def acquire(self, consumer: Consumer, count: int) -> Granted:
        """The next ranges."""
        self._never.wait(self.delay_s)
        with self._guard:
            self._fault()
            self.asked.append(count)
            given = [self.ready.popleft() for _ in range(min(count, len(self.ready)))]
            self.sent.update((item.id, item) for item in given)
            return Granted(tuple(given), exhausted=len(given) < count)

    def update(self, consumer: Consumer, chunks: Sequence[Chunk], version: int = 1) -> Told:
        """Store outcomes; those of unknown ranges are refused."""
        self._never.wait(self.delay_s)
        with self._guard:
            self._fault()
            stored = [self._store(update) for chunk in chunks for update in chunk.updates]
            self.archives.extend(chunk for chunk in chunks if chunk.archive)
            if self.lose_answers:
                self.lose_answers -= 1
                raise CommunicationFailure("the answer was lost")
            words = {consumer.job_id: self.commands.popleft()} if self.commands else {}
            return Told(tuple(stored), words)

    def count(self, consumer: Consumer) -> int | None:
        """How many are ready."""
        self._never.wait(self.delay_s)
        with self._guard:
            self._fault()
            return len(self.ready)

    def states(self, consumer: Consumer) -> dict[str, KnownRange]:
        """What is known of those that were sent."""
        with self._guard:
            return {
                id: KnownRange(str(self.told[id].status), self.told[id].error_code, self.told[id].error_text)
                if id in self.told
                else KnownRange("sent")
                for id in self.sent
            }

    @property
    def finished(self) -> list[str]:
        """The ids of the ranges that were told to be finished, in the order of the ranges."""
        return [item.id for item in self.ranges if self._word(item.id) is RangeStatus.FINISHED]

    def _word(self, id: str) -> RangeStatus | None:
        return self.told[id].status if id in self.told else None

    def _store(self, update: RangeUpdate) -> bool:
        if update.id not in self.sent:
            return False
        known = self.told.setdefault(update.id, update)
        if known.status is not update.status:
            self.conflicts.append((known, update))
        return True

    def _fault(self) -> None:
        if self.faults and (fault := self.faults.popleft()) is not None:
            raise fault
