"""One event service job: its ledger, and what is done with it. Sans I/O.

It hears of workers (`Desk`) and of what came of its orders, and gives orders to `Hands`. Whatever happened is on disk
(`Hands.save`) before the next order of `step` is given.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence

import msgspec

from pilot.core.errors import PilotError
from pilot.core.ranges import EventRange, Granted, Told
from pilot.core.rangestate import RangeState, StoredArchive
from pilot.runtime.demand import Pace, wanted
from pilot.runtime.eventdispatch import Dispatch
from pilot.runtime.eventintake import PIECE, Bulk, take_up
from pilot.runtime.eventoutput import Outputs
from pilot.runtime.eventpeer import Peer
from pilot.runtime.eventplan import Hands, Plan, Summary, summary_of
from pilot.runtime.eventtelling import Telling
from pilot.runtime.eventwire import Done, Failed, possible
from pilot.runtime.ledger import Ledger

_LONGEST_WAIT_S = 60.0
_SAVE_S = 0.05


class EventJob:
    """A job's desk. Everything is called in one thread; `clock` gives monotonic s. `failure` is why no more ranges
    could be had, or why no more is told, if that is an error."""

    def __init__(
        self,
        ledger: Ledger,
        hands: Hands,
        plan: Plan,
        clock: Callable[[], float],
        archives: Sequence[StoredArchive] = (),
    ) -> None:
        self.ledger = ledger
        self._last_start: float | None = None
        self.failure: PilotError | None = None
        self._hands = hands
        self._plan = plan
        self._clock = clock
        self._dispatch = Dispatch(ledger, hands.present, self._outcome, hands.wake)
        self._outputs = Outputs(ledger, hands, plan.outputs, max((a.number for a in archives), default=-1) + 1)
        self._telling = Telling(ledger, plan.tell_s, plan.cores, plan.tell_tries)
        self._telling.archives = {a.number: a for a in archives}
        self._pace = Pace(answer_s=plan.answer_s)
        self._began = clock()
        self._asked_at: float | None = None
        self._ask_failures = 0
        self._ask_after = self._saved_at = -math.inf
        self._coming: Bulk[EventRange] = Bulk()
        self._no_more_come = self._ending = self._over = False
        take_up(ledger, self._outputs, self._telling, archives, clock())

    def end_by(self, deadline: float) -> None:
        """All must have been told at `deadline` (monotonic s): work ends a while before."""
        whole_s = deadline - self._clock()
        self._last_start = deadline - min(self._plan.demand.reserve_s, 0.1 * whole_s)

    # workers

    def joined(self, peer: Peer) -> None:
        """A worker is there."""
        self._dispatch.joined(peer)

    def asks(self, peer: Peer, count: int) -> None:
        """It can take ranges."""
        self._dispatch.asks(peer, count)

    def waits(self, peer: Peer, open: int) -> None:
        """It works on several ranges at once."""
        self._dispatch.waits(peer, open)

    def done(self, peer: Peer, said: Done) -> None:
        """It has worked a range through."""
        said = possible(said, self._clock() - self._began + _LONGEST_WAIT_S)
        path = self._hands.outside(said.path) if said.path else ""
        if self._dispatch.done(peer, msgspec.structs.replace(said, path=path)) and said.wall_s is not None:
            self._pace = self._pace.worked(said.wall_s)

    def failed(self, peer: Peer, said: Failed) -> None:
        """It could not work a range through."""
        self._dispatch.failed(peer, said)

    def leaves(self, peer: Peer, begun: tuple[str, ...]) -> None:
        """It leaves: everything it said is written down before it is told so."""
        self._dispatch.leaves(peer, begun)
        self._save()
        peer.farewell()

    def lost(self, peer: Peer, why: str) -> None:
        """It is gone."""
        self._dispatch.lost(peer, why)

    # answers to orders

    def granted(self, granted: Granted) -> None:
        """The server gave ranges."""
        if self._asked_at is not None:
            self._pace = self._pace.answered(self._clock() - self._asked_at)
        self._asked_at, self._ask_failures = None, 0
        if not self._ending:
            self._coming.add(granted.ranges)
            self._no_more_come = granted.exhausted
            self._take_in()
        self._save()
        self._hands.wake()

    def _take_in(self, most: int = PIECE) -> None:
        """Take in a part of what has come; that there is no more is known when all of it is here."""
        self.ledger.grant(self._coming.take(most))
        if self._no_more_come and not self._coming:
            self._dispatch.exhausted = True

    def not_granted(self, error: PilotError) -> None:
        """It did not: it is asked again after a while, unless that cannot help."""
        self._asked_at = None
        if error.retry:
            self._ask_failures += 1
            self._ask_after = self._clock() + min(_LONGEST_WAIT_S, 2.0 ** min(self._ask_failures - 1, 10))
        else:
            self.failure = error
            self._dispatch.exhausted = True
        self._hands.wake()

    def packed(self, good: Sequence[int], bad: dict[int, str], bytes: int) -> None:
        """Outputs are in the open archive."""
        self._outputs.packed(good, bad, bytes)
        self._settle()

    def closed(self, archive: StoredArchive) -> None:
        """The open archive is whole."""
        paths = self._outputs.closed(archive)
        self._save()
        self._hands.drop_outputs(paths)
        self._settle()

    def spoiled(self, why: str) -> None:
        """The open archive could not be written."""
        self._outputs.spoiled(why, self._clock())
        self._settle()

    def stored(self, archive: StoredArchive) -> None:
        """An archive is on storage."""
        self._telling.archives[archive.number] = archive
        self._outputs.stored(archive)
        self._settle(urgent=True)

    def not_stored(self, archive: StoredArchive, error: PilotError) -> None:
        """An archive could not be stored."""
        self._outputs.not_stored(archive, str(error), self._clock(), error.retry)
        self._settle()

    def told(self, told: Told) -> None:
        """The server has heard."""
        self._telling.told(told, self._clock())
        self._save()
        self._hands.wake()

    def not_told(self, error: PilotError | None = None) -> None:
        """It has not, or nobody knows."""
        self._telling.not_told(self._clock(), error)
        self.failure = self._telling.given_up or self.failure
        self._hands.wake()

    def input_lost(self, numbers: Sequence[int], why: str) -> None:
        """The inputs of these waiting ranges cannot be had."""
        self.ledger.reject(numbers, why)
        self._telling.add(list(numbers))
        self._hands.wake()

    # orders from above

    @property
    def hopeless(self) -> bool:
        """Whether no storage takes the outputs: nothing is handed out any more."""
        return self._outputs.hopeless

    @property
    def draining(self) -> bool:
        """Whether workers get no more ranges."""
        return self._dispatch.draining

    def drain(self) -> None:
        """Give out no more ranges; those that are with workers may be finished."""
        self._dispatch.draining = True
        self._hands.wake()

    def flush(self) -> None:
        """Pack, store and tell what there is, at once."""
        self._outputs.flushing = True
        self._hands.wake()

    def end(self) -> None:
        """The payload has ended: what it did not do is left to the server, the rest is stored and told."""
        self._ending = True
        self._take_in(sys.maxsize)
        self.ledger.abandon()
        self.drain()
        self.flush()

    def summary(self) -> Summary:
        """What has become of the ranges so far."""
        return summary_of(self.ledger, self._dispatch.most_workers)

    # the next orders

    def step(self) -> None:
        """Give the orders that are due now."""
        now = self._clock()
        if bulk := bool(self._coming) | self._telling.settle():
            self._take_in()
            self._hands.wake()
        if self.hopeless or self._late(now):
            self._dispatch.draining = True
        self._dispatch.serve(self._asked_at is not None or bool(self._coming))
        self._ask(now)
        if self.ledger.has_unwritten and (bulk or now >= self._saved_at + _SAVE_S):
            self._save()
        self._outputs.step(now)
        chunks = self._telling.take(now, self._outputs.flushing)
        if chunks:
            self._save()
            self._hands.tell(chunks)
        if self._outputs.flushing and not self._ending and self._outputs.idle:
            self._outputs.flushing = False
        self._end_if_over()

    def due(self) -> float | None:
        """When `step` must be called again even if nothing happens (monotonic s)."""
        times = [
            self._outputs.due(),
            self._telling.due(),
            self._saved_at + _SAVE_S if self.ledger.has_unwritten else None,
        ]
        if self._ask_failures and self._asked_at is None and not (self._dispatch.exhausted or self.draining):
            times.append(self._ask_after)
        if self._last_start is not None and not self.draining:
            times.append(self._last_start - (self._pace.wall_s or 0.0))
        return min((when for when in times if when is not None), default=None)

    def _ask(self, now: float) -> None:
        dispatch, ledger = self._dispatch, self.ledger
        if (
            self._asked_at is not None
            or self._coming
            or dispatch.exhausted
            or dispatch.draining
            or now < self._ask_after
        ):
            return
        left = None if self._last_start is None else self._last_start - now
        workers = dispatch.hands if dispatch.most_workers else self._plan.workers
        if not workers:
            return  # all have left, perhaps for good: the stock is enough for the first that comes back
        count = wanted(workers, ledger.ready, ledger.held, self._pace, left, self._plan.demand)
        if count > 0:
            self._asked_at = now
            self._hands.ask(count)

    def _late(self, now: float) -> bool:
        """Whether a range that is begun now would not be finished, stored and told in time."""
        return self._last_start is not None and self._last_start - now < (self._pace.wall_s or 0.0)

    def _outcome(self, n: int) -> None:
        if self.ledger.state(n) is RangeState.DONE:
            self._outputs.add(n, self._clock())
        else:
            self._telling.add([n])
        self._hands.wake()

    def _settle(self, urgent: bool = False) -> None:
        settled, self._outputs.settled = self._outputs.settled, []
        self._telling.add(settled, urgent)
        self._hands.wake()

    def _save(self) -> None:
        archives, self._outputs.changed_archives = self._outputs.changed_archives, []
        if archives or self.ledger.has_unwritten:
            self._saved_at = self._clock()
            self._hands.save(archives)

    def _end_if_over(self) -> None:
        if self._ending and not self._over and self._outputs.idle and self._telling.idle:
            self._over = True
            self._save()
            self._hands.over()
