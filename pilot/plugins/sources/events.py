"""What a source of event service jobs can do besides `base.Source`: give event ranges and hear of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from pilot.core.ranges import Chunk, Consumer, Granted, KnownRange, Told


@runtime_checkable
class EventSource(Protocol):
    """Gives event ranges and hears what became of them (protocol.md 4.1, 4.2).

    A source that has event ranges offers one of these as its attribute `events` (None where it has none).

    Threads: any method may be called from several threads at once, for different jobs; never twice at once for one.
    Errors: `pilot.core.errors.PilotError` only; one with `retry` is tried again later by the caller.
    Idempotence: `update` may be called again with chunks whose answer was lost. An implementation whose server
    fails after it has stored them (HTTP 500) verifies with `states` and answers from what it finds.
    `answer_s` is how long an answer to `acquire` usually takes: the first request is sized by it.
    """

    answer_s: float

    def acquire(self, consumer: Consumer, count: int) -> Granted:
        """Ask for up to `count` ranges: never more than can be worked through, never just to see.

        May block as long as the server needs. A source whose answers take long (files on a shared file system)
        raises an error with `retry` after a while and goes on waiting for the same answer when called again.
        """

    def update(self, consumer: Consumer, chunks: Sequence[Chunk], version: int = 1) -> Told:
        """Tell what became of ranges. Version 0 knows no archives, 2 is fine-grained processing."""

    def count(self, consumer: Consumer) -> int | None:
        """How many ranges are ready for the job; None where the server cannot tell."""

    def states(self, consumer: Consumer) -> dict[str, KnownRange]:
        """What the server knows of the job's ranges, by range id; empty where it cannot tell."""
