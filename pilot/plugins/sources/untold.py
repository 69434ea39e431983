"""Jobs of another source that hears nothing of them (`-z`, `--noserverupdate` of the PanDA pilot)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pilot.core.update import Answer, JobUpdate
from pilot.plugins.sources.base import Acquired, Capacity, EventSource, Source


class UntoldSource:
    """Gives the jobs of `inner` and keeps to itself what comes of them.

    Every update is accepted here, so a job ends as if its server had heard; what would have been told stands in the
    job's `heartbeat.json` and in the PilotDB. Event ranges are still got from `inner` and told to it: there is no
    event job without them.
    """

    def __init__(self, inner: Source) -> None:
        self._inner = inner
        self._words: dict[int, str] = {}

    @property
    def events(self) -> EventSource | None:
        """The inner source's event ranges."""
        return self._inner.events

    def acquire(self, capacity: Capacity) -> Acquired:
        """Ask the inner source."""
        return self._inner.acquire(capacity)

    def report(self, updates: Sequence[JobUpdate]) -> Sequence[Answer]:
        """Accept everything, tell nobody."""
        self._words |= {update.job_id: str(update.state) for update in updates}
        return [Answer(True) for _ in updates]

    def status(self, job_ids: Sequence[int]) -> dict[int, str]:
        """This pilot's own last word; the server, which was told nothing, knows nothing."""
        return {number: self._words[number] for number in job_ids if number in self._words}

    def worker(self, word: str, node: dict[str, Any] | None, gpus: Sequence[dict[str, Any]]) -> None:
        """Nobody is told of this worker."""

    def close(self) -> None:
        """Close the inner source."""
        self._inner.close()
