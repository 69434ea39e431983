"""Jobs from a PanDA server, in either dialect."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from pilot.core.errors import RequestRefused
from pilot.core.update import Answer, JobUpdate
from pilot.plugins.sources.base import Acquired, Capacity
from pilot.plugins.sources.panda_server import PandaServer, Tongue
from pilot.plugins.sources.panda_settings import PandaSettings
from pilot.plugins.sources.panda_types import PandaTypes
from pilot.plugins.sources.panda_worker import PandaWorker

if TYPE_CHECKING:
    from pilot.plugins.sources.panda_events import PandaEvents

#: The word of `pilot/acquire_jobs` that servers before 1.0.4 name when they refuse it; nothing else tells their age.
_GPUS = "unexpected keyword argument 'target_architecture'"


class PandaSource:
    """Gives jobs of one queue and tells the server of them.

    Asking and telling have a connection each, since an answer to the one may take long. Several updates go in one
    request of at most `settings.bulk`.
    """

    def __init__(self, settings: PandaSettings) -> None:
        self.settings = self._asks_with = settings
        self.tongue = Tongue(settings.dialect)
        self._ask = PandaServer(settings, self.tongue)
        self._tell = PandaServer(settings, self.tongue)
        self._types = PandaTypes(self._ask)
        self._events: PandaEvents | None = None

    @property
    def events(self) -> PandaEvents:
        """The event ranges of this server; made when the first event job needs them."""
        if self._events is None:
            from pilot.plugins.sources.panda_events import PandaEvents

            self._events = PandaEvents(self.settings, self.tongue)
        return self._events

    def acquire(self, capacity: Capacity) -> Acquired:
        """Ask for jobs; none is an answer too. A server too old to hear of GPUs hears of them but once."""
        try:
            acquired = self._acquire(capacity)
        except RequestRefused as refused:
            if self._asks_with.gpus is None or _GPUS not in str(refused):
                raise
            self._asks_with = msgspec.structs.replace(self._asks_with, gpus=None)
            acquired = self._acquire(capacity)
        return msgspec.structs.replace(acquired, resource_types=self._types.for_jobs(acquired.jobs))

    def _acquire(self, capacity: Capacity) -> Acquired:
        dialect = self._ask.dialect
        return dialect.read_jobs(self._ask.call(dialect.acquire(capacity, self._asks_with)))

    def report(self, updates: Sequence[JobUpdate]) -> Sequence[Answer]:
        """Tell the server, in bulk where there are several."""
        answers: list[Answer] = []
        for start in range(0, len(updates), max(1, self.settings.bulk)):
            answers += self._report(updates[start : start + max(1, self.settings.bulk)])
        return answers

    def _report(self, updates: Sequence[JobUpdate]) -> list[Answer]:
        """One request for all; when the server refuses the whole, each by itself, so that one does not stop others."""
        if len(updates) == 1:
            return [self._report_one(updates[0])]
        try:
            dialect = self._tell.dialect
            body = self._tell.call(dialect.update_bulk(updates, self.settings.node))
            return dialect.read_answers(body, len(updates))
        except RequestRefused:
            return [self._report_one(update) for update in updates]

    def _report_one(self, update: JobUpdate) -> Answer:
        """One update. What the server refuses (a token that ran out, say) is kept for later: it may be renewed."""
        try:
            dialect = self._tell.dialect
            return dialect.read_answer(self._tell.call(dialect.update(update, self.settings.node)))
        except RequestRefused as refused:
            return Answer(False, True, str(refused))

    def status(self, job_ids: Sequence[int]) -> dict[int, str]:
        """The server's word on each job that it knows."""
        if not job_ids:
            return {}
        dialect = self._tell.dialect
        return dialect.read_status(self._tell.call(dialect.status(job_ids)), job_ids)

    def worker(self, word: str, node: dict[str, Any] | None, gpus: Sequence[dict[str, Any]]) -> None:
        """Tell of the worker, if Harvester gave it a number, and of its node where the dialect has words for it."""
        teller = PandaWorker(self.settings, self.tongue)
        try:
            if word == "started":
                teller.started()
            else:
                teller.finished()
            if node is not None:
                teller.node(node, gpus)
        finally:
            teller.close()

    def close(self) -> None:
        """Let go of both connections."""
        self._ask.close()
        self._tell.close()
        if self._events is not None:
            self._events.close()
