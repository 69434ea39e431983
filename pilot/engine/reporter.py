"""The outbox: what the server must hear is a row before it is a request, and is said again until it was heard."""

from __future__ import annotations

import contextlib
import logging
import random
from collections.abc import Callable, Sequence
from typing import Any

from pilot.core.errors import CommunicationFailure, NoLocalSpace, PilotError, UnknownException
from pilot.core.update import Answer, JobUpdate
from pilot.db.messages import OpenMessage
from pilot.db.store import Store
from pilot.engine.reserve import Reserve
from pilot.lib.loop import Loop, Timer
from pilot.lib.worker import Worker
from pilot.plugins.sources.base import Source

_log = logging.getLogger("pilot.report")
_FIRST_WAIT_S, _LONGEST_WAIT_S, _BULK = 1.0, 120.0, 100


class Reporter:
    """Sends the open messages of the PilotDB, in bulk, one request at a time, in a thread of its own.

    A final report is never dropped and never overtaken; of a job's other messages only the newest is sent.
    A failed request is repeated after a wait that doubles up to two minutes, with jitter.
    """

    def __init__(
        self,
        store: Store,
        source: Source,
        loop: Loop,
        reserve: Reserve,
        on_answer: Callable[[JobUpdate, Answer], None],
    ) -> None:
        self._store, self._source, self._loop = store, source, loop
        self._reserve, self._on_answer = reserve, on_answer
        self._worker = Worker("report")
        self._in_flight: frozenset[int] = frozenset()
        self._failures = 0
        self._timer: Timer | None = None
        self.last_success = 0.0

    @property
    def in_flight(self) -> frozenset[int]:
        """The messages that are being sent now."""
        return self._in_flight

    def poke(self) -> None:
        """Send what is open, unless a request is under way or the server is being given a rest."""
        if self._in_flight or self._timer is not None:
            return
        batch = self._next_batch()
        if not batch:
            return
        self._in_flight = frozenset(m.id for m in batch)
        with contextlib.suppress(NoLocalSpace):  # the count of tries is not worth a report
            self._store.tried([m.id for m in batch])
        updates = [m.update for m in batch]

        def done(answers: Sequence[Answer] | None, error: PilotError | None) -> None:
            self._loop.post(lambda: self._heard(batch, answers, error))

        self._worker.submit(lambda: self._source.report(updates), done)

    def tell_worker(self, word: str, node: dict[str, Any] | None, gpus: Sequence[dict[str, Any]]) -> None:
        """Tell of this pilot as a worker; nothing depends on whether it was heard."""

        def done(result: None, error: PilotError | None) -> None:
            if error is not None:
                _log.warning("the server was not told that the worker %s: %s", word, error)

        self._worker.submit(lambda: self._source.worker(word, node, gpus), done)

    def hasten(self) -> None:
        """Try at once, whatever the wait was going to be."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.poke()

    def close(self, seconds: float) -> None:
        """Stop sending; wait a little for the request that is under way."""
        self._worker.close(seconds)

    def _next_batch(self) -> list[OpenMessage]:
        newest: dict[str, OpenMessage] = {}
        for message in self._store.open_messages():
            known = newest.get(message.update.key)
            if known is not None and known.update.state.final:
                self._drop(message, "came after the final report")
                continue
            if known is not None:
                self._drop(known, "overtaken")
            newest[message.update.key] = message
        return list(newest.values())[:_BULK]

    def _drop(self, message: OpenMessage, why: str) -> None:
        with contextlib.suppress(NoLocalSpace):  # it stays open, and is dropped another time
            self._store.drop_message(message.id, why)

    def _heard(self, batch: list[OpenMessage], answers: Sequence[Answer] | None, error: PilotError | None) -> None:
        if answers is None or len(answers) != len(batch):
            self._in_flight = frozenset()
            self._rest(error or CommunicationFailure("the server answered too few updates"))
            if isinstance(error, UnknownException):
                raise error  # no fault of the server's: the pilot ends, the next one may do better
            return

        def note() -> None:
            with self._store.transaction():
                for message, answer in zip(batch, answers, strict=True):
                    self._store.answered(message.id, answer)

        if not self._reserve.write_or(note, lambda: self._heard(batch, answers, None)):
            return
        self._in_flight = frozenset()
        again = next((CommunicationFailure(a.why) for a in answers if not a.accepted and a.retry), None)
        for message, answer in zip(batch, answers, strict=True):
            self._on_answer(message.update, answer)
        if again is not None:
            self._rest(again)
            return
        self._failures = 0
        self.poke()

    def _rest(self, error: PilotError) -> None:
        self._failures += 1
        wait = min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2 ** min(self._failures - 1, 10)) * random.uniform(0.5, 1.0)
        _log.warning("the reports were not delivered (try %d), again in %.1f s: %s", self._failures, wait, error)
        self._timer = self._loop.after(wait, self.hasten)
