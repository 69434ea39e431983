"""Jobs from Harvester, by files that are shared with it or over its HTTP front end (protocol.md section 5)."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any

from pilot.core.errors import PilotError
from pilot.core.update import Answer, JobUpdate
from pilot.plugins.sources.base import Acquired, Capacity, Source
from pilot.plugins.sources.events import EventSource
from pilot.plugins.sources.harvester_box import Box, Role
from pilot.plugins.sources.harvester_events import HarvesterEvents
from pilot.plugins.sources.harvester_reports import attributes, dump_entries
from pilot.plugins.sources.harvester_settings import HarvesterSettings

_log = logging.getLogger("pilot.harvester")
_SLICE_S = 2.0


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
        self._stock: list[dict[str, Any]] = []
        self._since: float | None = None
        self._requested = False

    @property
    def events(self) -> EventSource | None:
        """The event ranges that Harvester brings, or the job server's where that is asked directly."""
        return self._teller.events if self._teller is not None else self._events

    def acquire(self, capacity: Capacity) -> Acquired:
        """Jobs that are there; else ask for some and wait a little. `finished` when there will be no more."""
        watch = self.box.watch()
        try:
            end = time.monotonic() + _SLICE_S
            while True:
                jobs = self._take(capacity.jobs)
                if jobs:
                    self._since = None
                    return Acquired(tuple(jobs), finished=self.settings.push and not self._more())
                if self._since is None:
                    self._since = time.monotonic()
                if self._over():
                    return Acquired(finished=True)
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
                    self._stock.append({"PandaID": key, **job})
                    self._requested = False
        given, self._stock = self._stock[: max(1, count)], self._stock[max(1, count) :]
        return given

    def _more(self) -> bool:
        return bool(self._stock) or any(key not in self._given for key in self.box.jobs())

    def _over(self) -> bool:
        waited_s = time.monotonic() - (self._since or 0.0)
        if self.settings.push and self._given:
            return True
        if waited_s > self.settings.patience_s:
            _log.warning("Harvester brought no job within %.0f s", waited_s)
            return True
        return False

    def _ask(self, count: int) -> None:
        if self.settings.push or self._requested:
            return
        if self.box.write(Role.JOB_REQUEST, {"nJobs": max(1, count)}):
            _log.info("asked Harvester for %d jobs", max(1, count))
        self._requested = True  # or an earlier pilot did, which is as good

    def report(self, updates: Sequence[JobUpdate]) -> Sequence[Answer]:
        """Write what is known of the jobs. A final word is accepted once its outputs are listed for Harvester."""
        told = self._teller.report(updates) if self._teller is not None else [Answer(True)] * len(updates)
        return [self._write(update, answer) for update, answer in zip(updates, told, strict=True)]

    def _write(self, update: JobUpdate, answer: Answer) -> Answer:
        """In the order that Harvester expects: job report, attributes, output dump."""
        try:
            if update.state.final and update.metadata is not None:
                self.box.write(Role.JOB_REPORT, update.metadata, update.job_id)
            self.box.write(Role.ATTRIBUTES, attributes(update, self.settings.node), update.job_id)
            if update.state.final and answer.accepted:
                entries = dump_entries(update.report or ())
                if entries and not self.box.write(Role.DUMP, {str(update.job_id): entries}, update.job_id):
                    return Answer(False, True, "Harvester has not read the list of outputs before this one")
        except PilotError as error:
            return Answer(False, True, str(error))
        return answer

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
