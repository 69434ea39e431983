"""The information service: queue and storage data from the first place that has them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from pilot.core.errors import (
    PandaQueueNotActive,
    PandaQueueNotOnline,
    PilotError,
    QueuedataNotDownloaded,
)
from pilot.core.job import JobDefinition
from pilot.core.queue import QueueData
from pilot.core.storage import StagingSite
from pilot.info.places import Cache, Found, Place, read_file, read_url
from pilot.info.read_queue import merge, pick, read_queue
from pilot.info.read_storage import read_storages, staging_site, wanted
from pilot.lib.http import HttpSettings

_log = logging.getLogger("pilot.info")


class InfoSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where to look and how long to wait.

    Places are tried in order. The main record of a queue wins over its details; both may have the same places.
    A cached document younger than `fresh_s` saves the network; when no place answers, an older one serves as well.
    `rounds` over all places, with `pause_s` between them. `overlay` are keys of queue data that the pilot's
    configuration sets: they win over everything.
    """

    queue: str
    main: tuple[Place, ...] = ()
    details: tuple[Place, ...] = ()
    storages: tuple[Place, ...] = ()
    cache_dir: str = ""
    fresh_s: float = 3 * 3600
    local_s: float = 20.0
    rounds: int = 3
    pause_s: float = 15.0
    overlay: dict[str, Any] = {}
    http: HttpSettings = HttpSettings(connect_s=10.0, silence_s=20.0, total_s=60.0)


class InfoService:
    """Loads the records once and gives them, overlaid for a job, as often as asked. Thread-safe after `load`.

    `wait` is called between two rounds and returns True to give up early (an event's `wait`).
    """

    def __init__(self, settings: InfoSettings, wait: Callable[[float], bool] | None = None) -> None:
        self.settings = settings
        self._wait = wait or threading.Event().wait
        self._cache = Cache(Path(settings.cache_dir) if settings.cache_dir else None)
        self._record: dict[str, Any] = {}
        self._storages: Any = {}
        self.origins: dict[str, str] = {}

    def load(self) -> None:
        """Fetch everything. Raises `QueuedataNotDownloaded` (71), `QueuedataNotOk` (72) or `JsonRetrievalTimeout`.

        Where no place is named at all, the queue is one without limits and storages.
        """
        queue = self.settings.queue
        main = self._fetch("main", self.settings.main, f"queue.{queue}.json", queue)
        details = {}
        if self.settings.details and self.settings.details != self.settings.main:
            try:
                rounds = 1 if main else self.settings.rounds
                details = self._fetch("details", self.settings.details, f"details.{queue}.json", queue, rounds)
            except PilotError as error:
                # Details complete the main record: a queue that has one can be served without them.
                if not main:
                    raise
                _log.warning("the details of queue %s are missing: %s", queue, error)
        self._record = merge(details, main, self.settings.overlay)
        read_queue(self._record, queue)
        self._storages = self._fetch("storages", self.settings.storages, "storages.json", None)

    def queue(self, job: JobDefinition | None = None) -> QueueData:
        """The queue, as a job's overlay would have it; the pilot's own configuration wins over both."""
        overlay = job.queue_overlay if job else {}
        platform = {"cmtconfig": job.platform} if job and job.platform else {}
        return read_queue(merge(self._record, platform, overlay, self.settings.overlay), self.settings.queue)

    def site(self, job: JobDefinition | None = None, more: Iterable[str] = ()) -> StagingSite:
        """What staging needs of queue and storages for a job; other storages, but for `more`, are not even read."""
        queue = self.queue(job)
        of_job = {f.rse for f in job.inputs} | {f.rse for f in job.all_outputs} if job else set()
        names = wanted(queue, (of_job | set(more)) - {""})
        overlay = job.storage_overlay if job else {}
        return staging_site(queue, read_storages(self._storages, names, overlay))

    def _fetch(
        self, what: str, places: tuple[Place, ...], cached_as: str, queue: str | None, rounds: int | None = None
    ) -> dict[str, Any]:
        if not places:
            return {}
        cached = self._cache.get(cached_as)
        if cached is not None and cached.age_s < self.settings.fresh_s:
            return self._took(what, cached)
        first_error: PilotError | None = None
        for round_ in range(max(1, self.settings.rounds if rounds is None else rounds)):
            if round_ and self._wait(self.settings.pause_s):
                break
            for place in places:
                try:
                    found = self._read(place, queue)
                except PilotError as error:
                    _log.warning("%s data not taken from %s: %s", what, place.name, error)
                    first_error = first_error or error
                    continue
                self._cache.put(cached_as, found.document)
                return self._took(what, found)
            if not any(place.remote for place in places):
                break
        if cached is not None:
            _log.warning("%s data of %.0f s age are used: no place gave newer ones", what, cached.age_s)
            return self._took(what, cached)
        raise first_error or QueuedataNotDownloaded(f"no place has {what} data")

    def _read(self, place: Place, queue: str | None) -> Found:
        where = place.of(self.settings.queue)
        document = read_url(where, self.settings.http) if place.remote else read_file(where, self.settings.local_s)
        return Found(pick(document, queue) if queue else _table(document), place.name)

    def _took(self, what: str, found: Found) -> dict[str, Any]:
        self.origins[what] = found.origin
        return dict(found.document) if isinstance(found.document, Mapping) else {}


def _table(document: Any) -> dict[str, Any]:
    """Storages by name, whatever form the document has."""
    if isinstance(document, list):
        return {str(item.get("name")): item for item in document if isinstance(item, Mapping)}
    return dict(document)


def check_usable(queue: QueueData) -> str:
    """Whether jobs may be taken for the queue: raises `PandaQueueNotActive` (78) or `PandaQueueNotOnline` (83).

    Returns the label that the queue's status demands: `test` for a queue in test, else empty.
    """
    if queue.state != "ACTIVE":
        raise PandaQueueNotActive(f"queue {queue.name} has state {queue.state}: no job is asked for")
    if queue.status == "offline":
        raise PandaQueueNotOnline(f"queue {queue.name} is offline: no job is asked for")
    return "test" if queue.status == "test" else ""
