"""Who gets which range: the workers of one job, those that wait, and when there is nothing more for them. Sans I/O."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from pilot.core.ranges import EventRange
from pilot.core.rangestate import Said
from pilot.runtime.eventpeer import Peer
from pilot.runtime.eventwire import Done, Failed
from pilot.runtime.ledger import Ledger


class Worker(msgspec.Struct):
    """What is known of a worker. `asked` 0: it does not wait. `parallel`: it works on several ranges at once."""

    peer: Peer
    asked: int = 0
    parallel: bool = False


class Dispatch:
    """Hands ranges to workers. `present(range)` tells the range as the worker shall see it, or None while its input is
    on its way; `ended(n)` is called for every range that has an outcome now; `changed` when work may be needed."""

    def __init__(
        self,
        ledger: Ledger,
        present: Callable[[EventRange], EventRange | None],
        ended: Callable[[int], None],
        changed: Callable[[], None],
    ) -> None:
        self._ledger = ledger
        self._present = present
        self._ended = ended
        self._changed = changed
        self._workers: dict[int, Worker] = {}
        self._waiting: dict[int, Worker] = {}
        self.exhausted = False
        self.draining = False
        self.most_workers = 0

    @property
    def workers(self) -> int:
        """How many workers there are."""
        return len(self._workers)

    @property
    def hands(self) -> int:
        """How many ranges they can have under way: one that works on several at once has a hand for each of them, and
        for each that it asks for."""
        return sum(
            max(1, self._ledger.holds(number) + worker.asked) if worker.parallel else 1
            for number, worker in self._workers.items()
        )

    @property
    def waiting(self) -> int:
        """How many of them wait for a range."""
        return len(self._waiting)

    # what workers say

    def joined(self, peer: Peer) -> None:
        """A worker is there."""
        self._workers[peer.number] = Worker(peer, parallel=peer.classic)
        self.most_workers = max(self.most_workers, len(self._workers))
        self._changed()

    def asks(self, peer: Peer, count: int) -> None:
        """It can take ranges."""
        worker = self._workers[peer.number]
        worker.asked = worker.asked + count if peer.classic else count
        self._waiting[peer.number] = worker
        self._changed()

    def waits(self, peer: Peer, open: int) -> None:
        """It works on several ranges at once, and their ends may depend on the answer that it waits for."""
        self._workers[peer.number].parallel = open > 0
        self._changed()

    def done(self, peer: Peer, message: Done) -> bool:
        """It has worked a range through. False, and the worker is told, if the range is not its own."""
        n = self._ledger.number(message.id)
        said = Said(message.path, message.cpu_s, message.wall_s, loss=message.loss)
        if n is None or not self._ledger.done(peer.number, n, said):
            peer.refuse(message.id, "this range is not with this worker")
            return False
        self._ended(n)
        return True

    def failed(self, peer: Peer, message: Failed) -> bool:
        """It could not work a range through. False, and the worker is told, if the range is not its own."""
        n = self._ledger.number(message.id)
        if n is None or not self._ledger.failed(peer.number, n, message.why, message.fatal):
            peer.refuse(message.id, "this range is not with this worker")
            return False
        self._ended(n)
        return True

    def leaves(self, peer: Peer, begun: Sequence[str]) -> None:
        """It leaves; what it began without giving an outcome is held against the ranges, the rest is not."""
        numbers = [n for n in map(self._ledger.number, begun) if n is not None]
        self._forget(peer, "its worker left it without outcome", numbers)

    def lost(self, peer: Peer, why: str) -> None:
        """It is gone. One that works on a range at a time had begun the first of those that it held."""
        worker = self._workers.get(peer.number)
        if worker is not None:
            held = self._ledger.held_by(peer.number)
            self._forget(peer, why, held if worker.parallel else held[:1])

    def _forget(self, peer: Peer, why: str, begun: Sequence[int]) -> None:
        self._workers.pop(peer.number, None)
        self._waiting.pop(peer.number, None)
        held = self._ledger.held_by(peer.number)
        again = set(self._ledger.gone(peer.number, why, begun))
        for n in held:
            if n not in again:
                self._ended(n)
        self._changed()

    # what they get

    def serve(self, asking: bool) -> None:
        """Answer those that wait, as far as that is possible. `asking`: the server has been asked for more."""
        for number, worker in list(self._waiting.items()):
            while worker.asked:
                ranges = [] if self.draining else self._take(worker)
                if ranges:
                    worker.peer.give(ranges)
                elif self.draining or self._nothing_will_come(number, worker, asking):
                    worker.peer.no_more()
                else:
                    break
                worker.asked = worker.asked - 1 if worker.peer.classic else 0
            if not worker.asked:
                self._waiting.pop(number, None)

    def _take(self, worker: Worker) -> list[EventRange]:
        """Ranges for this worker: where few are left, each worker gets its share only."""
        ready = self._ledger.ready
        if not ready:
            return []
        count = 1 if worker.peer.classic else min(worker.asked, max(1, ready // max(1, len(self._workers))))
        shown: list[EventRange] = []
        for n in self._ledger.upcoming(count):
            item = self._present(self._ledger.range(n))
            if item is None:
                break
            shown.append(item)
        if shown:
            self._ledger.hand(worker.peer.number, len(shown))
        return shown

    def _nothing_will_come(self, number: int, worker: Worker, asking: bool) -> bool:
        """Whether a worker need not wait: a range that another one holds may still come back, if that one dies."""
        if asking or not self.exhausted or self._ledger.ready:
            return False
        with_others = self._ledger.held - len(self._ledger.held_by(number))
        return with_others == 0 or worker.parallel
