"""The room of job sources: where jobs come from and who hears of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from pilot.core.resources import ResourceType
from pilot.core.update import Answer, JobUpdate
from pilot.plugins.sources.events import EventSource as EventSource


class Capacity(msgspec.Struct, frozen=True):
    """What the pilot has room for now. Memory and disk in MB; `seconds_left` None means no known end."""

    jobs: int
    cores: int = 0
    memory_mb: int = 0
    disk_mb: int = 0
    gpus: int = 0
    seconds_left: int | None = None


class Acquired(msgspec.Struct, frozen=True):
    """The answer to a request for jobs.

    `jobs` are descriptions with the keys of protocol.md section 2, JSON-typed, as received. `finished` says that
    this source will never have more (a list of files that is used up). `wait_s` is the source's wish, if any, for
    the time until the next request. `pending`: the request stands, its answer takes time; ask again at once. `error`
    is the number of the error (protocol.md 6.2) that it is to be `finished` now, 0 if it is none.
    `resource_types` are those that the server has told, by name.
    """

    jobs: tuple[dict[str, Any], ...] = ()
    finished: bool = False
    wait_s: float | None = None
    pending: bool = False
    resource_types: dict[str, ResourceType] = {}
    error: int = 0


class Source(Protocol):
    """Gives jobs and hears of them.

    Threads: `acquire` is called from one thread and `report` and `status` from another, at the same time; each of
    them never concurrently with itself. `close` is called once, last, from any thread.
    Errors: all raise `pilot.core.errors.PilotError` only; one with `retry` is tried again later by the caller
    (a source neither sleeps nor repeats), any other ends the asking.
    Idempotence: `report` may be called again with an update whose answer was lost.
    """

    @property
    def events(self) -> EventSource | None:
        """Its event ranges; None for a source that has none."""

    def acquire(self, capacity: Capacity) -> Acquired:
        """Ask for up to `capacity.jobs` jobs. A job that is returned is owned by this pilot from then on."""

    def report(self, updates: Sequence[JobUpdate]) -> Sequence[Answer]:
        """Tell the server; one answer for each update, in order. Several updates go in bulk where that exists."""

    def status(self, job_ids: Sequence[int]) -> dict[int, str]:
        """The server's word on each job (`running`, `finished`, ...; unknown jobs are absent)."""

    def worker(self, word: str, node: dict[str, Any] | None, gpus: Sequence[dict[str, Any]]) -> None:
        """Tell that this pilot has `started` or `finished`, and what node it has (protocol.md 1.7).

        Called from the thread of `report`. Sources without workers do nothing.
        """

    def close(self) -> None:
        """Let go of connections and files; safe to call twice."""
