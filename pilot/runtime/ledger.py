"""The ledger of one job's event ranges: each is handed out, has one outcome, and is told once. Pure.

| state         | what it means                                | next                                        |
|---------------|----------------------------------------------|---------------------------------------------|
| READY         | granted by the server, with no worker        | HELD, FAILED (no input), RETURNED           |
| HELD          | a worker has it                              | DONE, STORED (no output), FAILED, READY     |
| DONE          | worked through, its output lies here         | PACKED, FAILED (lost), READY (to be redone) |
| PACKED        | its output is in an archive                  | STORED, FAILED, DONE (archive lost), READY  |
| STORED        | its output is on storage, or it has none     | TOLD_FINISHED, REFUSED                      |
| FAILED        | will not be worked through here              | TOLD_FAILED, REFUSED                        |
| TOLD_FINISHED | the server knows that it is finished         | -                                           |
| TOLD_FAILED   | the server knows that it failed              | -                                           |
| REFUSED       | the server does not want the outcome         | -                                           |
| RETURNED      | never worked through, left to the server     | -                                           |

A range is known by its number `n` (0, 1, ... in the order of the grants). Everything about it is a few bytes in arrays;
what a worker said of it is kept only until it has been told. A step costs the same for the first range and the
millionth.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import chain, islice

import msgspec

from pilot.core.ranges import EventRange
from pilot.core.rangestate import RangeState, Row, Said
from pilot.runtime.rangetable import NOTHING_SAID, RangeTable

_READY, _HELD, _DONE, _PACKED, _STORED, _FAILED = (int(s) for s in list(RangeState)[:6])
_WORKED_THROUGH = (RangeState.DONE, RangeState.PACKED, RangeState.STORED, RangeState.TOLD_FINISHED)


class Ledger(RangeTable):
    """All ranges of one job. Used by one thread. `max_tries` workers may die over a range before it fails; from the
    first death on it is handed out last, so that it cannot take the workers away from the others.

    `cpu_s` and `wall_s` are what the workers said they used, `events_done` the events of the ranges worked through.
    """

    def __init__(self, max_tries: int = 8) -> None:
        super().__init__()
        self.max_tries = max_tries
        self.cpu_s = 0.0
        self.wall_s = 0.0
        self.events_done = 0
        self._next = 0
        self._again: deque[int] = deque()
        self._suspects: deque[int] = deque()
        self._held: dict[int, dict[int, None]] = {}

    @property
    def ready(self) -> int:
        """How many ranges wait for a worker."""
        return self._counts[_READY]

    @property
    def held(self) -> int:
        """How many are with workers."""
        return self._counts[_HELD]

    @property
    def finished(self) -> int:
        """How many have been worked through, told or not."""
        return self.count(*_WORKED_THROUGH)

    @property
    def untold(self) -> int:
        """How many have an outcome that the server does not know yet."""
        return sum(self._counts[_DONE : _FAILED + 1])

    def holds(self, worker: int) -> int:
        """How many the worker has."""
        return len(self._held.get(worker, ()))

    def held_by(self, worker: int) -> list[int]:
        """What the worker has."""
        return list(self._held.get(worker, ()))

    def held_numbers(self) -> Iterator[int]:
        """Those that are with workers."""
        return chain.from_iterable(self._held.values())

    def upcoming(self, count: int) -> list[int]:
        """The ranges that will be handed out next, at most `count`."""
        while self._next < len(self._ids) and self._state[self._next] != _READY:
            self._next += 1  # rejected meanwhile: nobody will get it
        return list(islice(self._in_order(), count))

    def _in_order(self) -> Iterator[int]:
        for n in chain(self._again, range(self._next, len(self._ids)), self._suspects):
            if self._state[n] == _READY:
                yield n

    def restore(self, rows: Iterable[Row]) -> None:
        """Fill the empty ledger from the PilotDB, rows in order. No worker is left: what was held waits again."""
        self._restore(self._tallied(rows))
        for n, state in enumerate(self._state):
            if state == _HELD:
                self._move(n, _READY)
            if state in (_READY, _HELD):
                (self._suspects if self._tries[n] else self._again).append(n)
        self._next = len(self._ids)

    def _tallied(self, rows: Iterable[Row]) -> Iterator[Row]:
        for row in rows:
            if row.state in _WORKED_THROUGH and row.range is not None:
                self._sum(row.said or NOTHING_SAID, row.range.events, 1)
            yield row

    # the way of a range

    def grant(self, ranges: Iterable[EventRange]) -> int:
        """Take in what the server gave; how many were new. A range that is here already is not taken twice."""
        before = len(self._ids)
        for item in ranges:
            if item.id not in self._number:
                self._append(item, _READY)
        return len(self._ids) - before

    def hand(self, worker: int, count: int) -> list[int]:
        """Give up to `count` waiting ranges to a worker: first those that came back, then in the server's order, last
        those over which a worker died."""
        numbers: list[int] = []
        while len(numbers) < count:
            if self._again:
                n = self._again.popleft()
            elif self._next < len(self._ids):
                n = self._next
                self._next += 1
            elif self._suspects:
                n = self._suspects.popleft()
            else:
                break
            if self._state[n] == _READY:
                numbers.append(n)
        if numbers:
            held = self._held.setdefault(worker, {})
            for n in numbers:
                held[n] = None
                self._move(n, _HELD)
        return numbers

    def done(self, worker: int, n: int, said: Said) -> bool:
        """The worker has worked the range through. False if it is not the worker's: then nothing is changed.

        A range without output has nothing to be stored and may be told at once.
        """
        if not self._take(worker, n):
            return False
        self._said[n] = said
        self._tally(n, 1)
        self._move(n, _DONE if said.output else _STORED)
        return True

    def failed(self, worker: int, n: int, why: str, fatal: bool = False) -> bool:
        """The worker could not work the range through. False if it is not the worker's."""
        if not self._take(worker, n):
            return False
        self._fail(n, why, fatal)
        return True

    def gone(self, worker: int, why: str = "its worker died", begun: Iterable[int] | None = None) -> list[int]:
        """The worker is gone: what it held goes to others. What it had begun (all, unless told which) fails if that
        happened too often. The numbers that go to others."""
        held = self._held.pop(worker, {})
        suspects = set(held if begun is None else begun)
        again = []
        for n in held:
            if n in suspects:
                self._tries[n] = min(self._tries[n] + 1, 255)
            if self._tries[n] >= self.max_tries:
                self._fail(n, f"{why} ({self._tries[n]} times)")
            else:
                self._back(n)
                again.append(n)
        return again

    def give_back(self, worker: int, numbers: Iterable[int] | None = None) -> list[int]:
        """The worker hands back what it has not begun: no fault of the ranges. All it holds, unless told which."""
        mine = self._held.get(worker, {})
        given = [n for n in (list(mine) if numbers is None else numbers) if n in mine]
        for n in given:
            del mine[n]
            self._back(n)
        return given

    def reject(self, numbers: Iterable[int], why: str) -> None:
        """These waiting ranges cannot be worked through here: their input cannot be had."""
        for n in numbers:
            self._must(n, _READY)
            self._fail(n, why)

    def pack(self, numbers: Iterable[int], archive: int) -> None:
        """The outputs of these ranges are in an archive."""
        for n in numbers:
            self._must(n, _DONE)
            self._archive[n] = archive
            self._move(n, _PACKED)

    def unpack(self, numbers: Iterable[int]) -> None:
        """Their archive was not completed, but their outputs are still here: to be packed again."""
        for n in numbers:
            self._must(n, _PACKED)
            self._archive[n] = -1
            self._move(n, _DONE)

    def store(self, numbers: Iterable[int]) -> None:
        """Their archive is on storage."""
        for n in numbers:
            self._must(n, _PACKED)
            self._move(n, _STORED)

    def lose(self, numbers: Iterable[int], why: str) -> None:
        """Their outputs are lost for good: they could not be read, packed or stored."""
        for n in numbers:
            self._must(n, _DONE, _PACKED)
            self._tally(n, -1)
            self._fail(n, why)

    def redo(self, numbers: Iterable[int]) -> None:
        """Their outputs are no longer here although nobody has stored them: to be worked through again."""
        for n in numbers:
            self._must(n, _DONE, _PACKED)
            self._tally(n, -1)
            self._said.pop(n, None)
            self._archive[n] = -1
            self._back(n)

    def told(self, numbers: Iterable[int], stored: bool = True) -> None:
        """The server has their outcomes or, with `stored` False, refuses them for good: then they count for nothing."""
        for n in numbers:
            self._must(n, _STORED, _FAILED)
            if not stored and self._state[n] == _STORED:
                self._tally(n, -1)
            fine = RangeState.TOLD_FINISHED if self._state[n] == _STORED else RangeState.TOLD_FAILED
            self._move(n, fine if stored else RangeState.REFUSED)

    def abandon(self) -> int:
        """Nothing will be worked through any more: what waits or is held is left to the server. How many those are."""
        self._held.clear()
        self._again.clear()
        self._suspects.clear()
        self._next = len(self._ids)
        left = [*self.in_state(RangeState.READY), *self.in_state(RangeState.HELD)]
        for n in left:
            self._move(n, RangeState.RETURNED)
        return len(left)

    def _take(self, worker: int, n: int) -> bool:
        held = self._held.get(worker)
        if held is None or n not in held:
            return False
        del held[n]
        return True

    def _back(self, n: int) -> None:
        self._move(n, _READY)
        (self._suspects if self._tries[n] else self._again).append(n)

    def _fail(self, n: int, why: str, fatal: bool = False) -> None:
        said = self._said.get(n, NOTHING_SAID)
        self._said[n] = msgspec.structs.replace(said, failure=why or "no reason was given", fatal=fatal)
        self._move(n, _FAILED)

    def _tally(self, n: int, sign: int) -> None:
        self._sum(self._said.get(n, NOTHING_SAID), self.events(n), sign)

    def _sum(self, said: Said, events: int, sign: int) -> None:
        self.cpu_s += sign * (said.cpu_s or 0.0)
        self.wall_s += sign * (said.wall_s or 0.0)
        self.events_done += sign * events
