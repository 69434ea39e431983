"""Jobs from Harvester, by files that are shared with it or over its HTTP front end (protocol.md section 5)."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any

from pilot.core.errors import JsonRetrievalTimeout, NoJobsInPanda, PilotError
from pilot.core.update import Answer, JobUpdate
from pilot.plugins.sources.base import Acquired, Capacity, Source
from pilot.plugins.sources.events import EventSource
from pilot.plugins.sources.harvester_box import Box, Role
from pilot.plugins.sources.harvester_events import HarvesterEvents
from pilot.plugins.sources.harvester_jumbo import part_of
from pilot.plugins.sources.harvester_reports import attributes, dump_entries
from pilot.plugins.sources.harvester_settings import HarvesterSettings

_log = logging.getLogger("pilot.harvester")
_SLICE_S = 2.0
_NOT_READ = "Harvester has not read the list of outputs before this one"


class HarvesterSource:
    """A worker's side of the shared-file protocol.

    `teller` is a job server that hears of the jobs directly (a "true pilot"); without one Harvester does all the
    talking and the worker needs no network.
    """

    def __init__(self, box: Box, settings: HarvesterSettings, teller: Source | None = None) -> None:
        self.box = box
        self.settings = settings
        self._teller = teller
        self._events = HarvesterEvents(box, settings.events_patience_s)
        self._given: set[str] = set()
        self._told: set[str] = set()
        self._stock: list[dict[str, Any]] = []
        self._since: float | None = None
        self._requested = False

    @property
    def events(self) -> EventSource | None:
        """The event ranges that Harvester brings, or the job server's where that is asked directly."""
        return self._teller.events if self._teller is not None else self._events

    def acquire(self, capacity: Capacity) -> Acquired:
        """Jobs that are there; else ask for some and wait a little. `finished` when there will be no more."""
        if self.settings.direct and self._teller is not None:
            return self._acquire_from(self._teller, capacity)
        watch = self.box.watch()
        try:
            end = time.monotonic() + _SLICE_S
            while True:
                jobs = self._take(capacity.jobs)
                if jobs:
                    self._since = None
                    return Acquired(tuple(jobs), finished=not self._more() and (self.settings.push or self._full()))
                if self._since is None:
                    self._since = time.monotonic()
                if self._over():
                    return Acquired(finished=True, error=0 if self._given else self._trouble())
                self._ask(capacity.jobs)
                left = end - time.monotonic()
                if left <= 0 or not watch.wait(left):
                    return Acquired(pending=True, wait_s=0.0)
        finally:
            watch.close()

    def _take(self, count: int) -> list[dict[str, Any]]:
        """What has been fed and was not given out before. While a request lies there, the feed may be incomplete."""
        if self.settings.push or not self.box.busy(Role.JOB_REQUEST):
            for key, job in self.box.jobs().items():
                if key not in self._given:
                    self._given.add(key)
                    job = {"PandaID": key, **job}
                    self._stock.append(part_of(job, self.settings.worker) if self.settings.jumbo else job)
                    self._requested = False
        given, self._stock = self._stock[: max(1, count)], self._stock[max(1, count) :]
        return given

    def _acquire_from(self, server: Source, capacity: Capacity) -> Acquired:
        """Jobs of the job server; Harvester learns which ones its worker has before they begin."""
        acquired = server.acquire(capacity)
        if acquired.jobs:
            self._given.update(str(job["PandaID"]) for job in acquired.jobs if "PandaID" in job)
            try:
                self.box.write(Role.PANDA_IDS, sorted(int(key) for key in self._given if key.isdecimal()))
            except PilotError as error:  # the jobs are ours all the same
                _log.warning("Harvester was not told which jobs its worker has: %s", error)
        return acquired

    def _more(self) -> bool:
        return bool(self._stock) or any(key not in self._given for key in self.box.jobs())

    def _trouble(self) -> int:
        """Why a worker that never got a job got none."""
        if spoiled := self.box.unreadable():
            _log.error("what Harvester fed cannot be read: %s", spoiled)
            return JsonRetrievalTimeout.code
        return NoJobsInPanda.code

    def _full(self) -> bool:
        return 0 < self.settings.jobs <= len(self._given)

    def _over(self) -> bool:
        waited_s = time.monotonic() - (self._since or 0.0)
        if (self.settings.push and self._given) or self._full():
            return True
        if waited_s > self.settings.patience_s:
            _log.warning("Harvester brought no job within %.0f s", waited_s)
            return True
        return False

    def _ask(self, count: int) -> None:
        if self.settings.push or self._requested or self.box.busy(Role.DUMP):
            return
        if self.box.write(Role.JOB_REQUEST, {"nJobs": max(1, count)}):
            _log.info("asked Harvester for %d jobs", max(1, count))
        self._requested = True  # or an earlier pilot did, which is as good

    def report(self, updates: Sequence[JobUpdate]) -> Sequence[Answer]:
        """Write what is known of the jobs. A final word is accepted once its outputs are listed for Harvester."""
        told = self._teller.report(updates) if self._teller is not None else [Answer(True)] * len(updates)
        return [self._write(update, answer) for update, answer in zip(updates, told, strict=True)]

    def _write(self, update: JobUpdate, answer: Answer) -> Answer:
        """In the order that Harvester expects: job report, attributes, output dump.

        While a list of outputs lies there, Harvester has not seen what belongs to it: nothing is written over that.
        """
        try:
            if self.box.busy(Role.DUMP, update.job_id):
                return Answer(False, True, _NOT_READ) if update.state.final else answer
            if update.state.final or self.box.renews:
                self._tell(update)
            if update.state.final and answer.accepted and not self.settings.direct:
                entries = dump_entries(update.report or ())
                if entries and not self.box.write(Role.DUMP, {str(update.job_id): entries}, update.job_id):
                    return Answer(False, True, _NOT_READ)
        except PilotError as error:
            return Answer(False, True, str(error))
        return answer

    def _tell(self, update: JobUpdate) -> None:
        """The job's own files. Where they stay as they are first written, they are those of the worker's first job."""
        if update.key in self._told:
            return
        if update.state.final and update.metadata is not None:
            self.box.write(Role.JOB_REPORT, update.metadata, update.job_id)
        if not self.box.write(Role.ATTRIBUTES, attributes(update, self.settings.node), update.job_id):
            _log.warning("%s: Harvester keeps the attributes that were written first", update.key)
        if not self.box.renews:
            self._told.add(update.key)

    def status(self, job_ids: Sequence[int]) -> dict[int, str]:
        """Harvester tells nothing of jobs; the job server does, where one is asked directly."""
        return self._teller.status(job_ids) if self._teller is not None else {}

    def worker(self, word: str, node: dict[str, Any] | None, gpus: Sequence[dict[str, Any]]) -> None:
        """Harvester knows its workers; the job server is told where one is asked directly."""
        if self._teller is not None:
            self._teller.worker(word, node, gpus)

    def beat(self) -> None:
        """Show that the worker is alive: Harvester looks at the time of the file alone. Never raises."""
        try:
            self.box.write(Role.HEARTBEAT, {"time": int(time.time())})
        except PilotError as error:
            _log.warning("no heartbeat for Harvester: %s", error)

    def close(self) -> None:
        """Say, if told to, that the worker may be ended; wake whoever waits."""
        if self.settings.ask_kill:
            try:
                self.box.write(Role.KILL, {"time": int(time.time())})
            except PilotError as error:
                _log.warning("no kill request for Harvester: %s", error)
        self.box.close()
        if self._teller is not None:
            self._teller.close()
