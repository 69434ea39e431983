"""Event ranges of a PanDA server."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from pilot.core.errors import CommunicationFailure, OutcomesNotStored
from pilot.core.ranges import Chunk, Consumer, Granted, KnownRange, RangeUpdate, ServerRangeState, Told
from pilot.lib.http import Reply
from pilot.plugins.sources import event_calls
from pilot.plugins.sources.dialect import BrokenAnswer, Call
from pilot.plugins.sources.panda_server import PandaServer, Tongue, refusal
from pilot.plugins.sources.panda_settings import DialectName, PandaSettings

#: Updates in one request: a tenth of what the server takes.
_AT_ONCE = 10_000
#: Answers of what stands before a server that is away or busy: they say nothing of the updates.
_AWAY = frozenset({408, 425, 429, 502, 503, 504})
#: States of a range in which the server has not heard of its end.
_OPEN = frozenset(
    word
    for state in (ServerRangeState.READY, ServerRangeState.SENT, ServerRangeState.RUNNING)
    for word in (str(state.value), state.name.lower())
)


class PandaEvents:
    """Asks for event ranges and tells of them, over a connection of its own. Calls take turns."""

    answer_s = 0.5

    def __init__(self, settings: PandaSettings, tongue: Tongue | None = None) -> None:
        self._server = PandaServer(settings, tongue)

    @property
    def _name(self) -> DialectName:
        return self._server.dialect.name

    def acquire(self, consumer: Consumer, count: int) -> Granted:
        """Ask for up to `count` ranges."""
        body = self._server.call(event_calls.acquire_call(self._name, consumer, count))
        return event_calls.read_granted(self._name, body, count)

    def update(self, consumer: Consumer, chunks: Sequence[Chunk], version: int = 1) -> Told:
        """Tell what became of ranges, in as many requests as they need."""
        stored: list[bool | None] = []
        commands: dict[int, str] = {}
        for piece in pieces(chunks, _AT_ONCE):
            told = self._update(consumer, piece, version)
            stored += told.stored
            commands |= told.commands
        return Told(tuple(stored), commands)

    def _update(self, consumer: Consumer, chunks: Sequence[Chunk], version: int) -> Told:
        """One request. Raises `CommunicationFailure` of a server that is away, `OutcomesNotStored` of one that answers
        but has not stored them."""
        updates = [update for chunk in chunks for update in chunk.updates]
        call = event_calls.update_call(self._name, chunks, version)
        reply = self._server.exchange(call)
        if reply.status in _AWAY:
            raise refusal(call, reply)
        try:
            return self._read(consumer, updates, call, reply)
        except CommunicationFailure as error:
            raise OutcomesNotStored(str(error)) from error

    def _read(self, consumer: Consumer, updates: Sequence[RangeUpdate], call: Call, reply: Reply) -> Told:
        """What was answered. Servers are known to fail after they have stored the updates: then their states tell."""
        failed = refusal(call, reply)
        if reply.status == 200:
            try:
                return event_calls.read_told(self._name, reply.body, len(updates))
            except BrokenAnswer as error:
                failed = error
        elif reply.status != 500:
            raise failed
        return self._verified(consumer, updates, failed)

    def _verified(self, consumer: Consumer, updates: Sequence[RangeUpdate], failed: Exception) -> Told:
        """The answer that the server owed, from what it knows now. Raises `failed` unless it knows of every end."""
        try:
            known = self.states(consumer)
        except CommunicationFailure:
            raise failed from None  # it has no such call, or fails at this one too
        # A fatal range gets another attempt number, so it is found by the rest of its name.
        known = {_base(name): facts for name, facts in known.items()} | known
        found = [known.get(update.id, known.get(_base(update.id), _UNKNOWN)) for update in updates]
        ends = [facts for update, facts in zip(updates, found, strict=True) if update.status.final]
        if not ends or any(facts.status.lower() in _OPEN for facts in ends):
            raise failed
        return Told(tuple(True if update.status.final else None for update in updates))

    def count(self, consumer: Consumer) -> int | None:
        """How many ranges are ready for the job."""
        return event_calls.read_count(self._name, self._server.call(event_calls.count_call(self._name, consumer)))

    def states(self, consumer: Consumer) -> dict[str, KnownRange]:
        """What the server knows of the job's ranges."""
        body = self._server.call(event_calls.states_call(self._name, consumer))
        return event_calls.read_states(self._name, body, consumer)

    def close(self) -> None:
        """Let go of the connection."""
        self._server.close()


def _base(range_id: str) -> str:
    """A range's name without the number of the attempt."""
    return range_id.rpartition("-")[0] or range_id


_UNKNOWN = KnownRange(str(ServerRangeState.SENT.value))


def pieces(chunks: Sequence[Chunk], size: int) -> Iterator[list[Chunk]]:
    """The chunks in groups of at most `size` updates. What is in one archive stays together whatever its size."""
    group: list[Chunk] = []
    many = 0
    for chunk in chunks:
        for part in [chunk] if chunk.archive else _parts(chunk, size):
            if group and many + len(part.updates) > size:
                yield group
                group, many = [], 0
            group.append(part)
            many += len(part.updates)
    if group:
        yield group


def _parts(chunk: Chunk, size: int) -> list[Chunk]:
    starts = range(0, len(chunk.updates), size)
    return [msgspec.structs.replace(chunk, updates=chunk.updates[at : at + size]) for at in starts]
