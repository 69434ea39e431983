"""Event ranges by way of Harvester: requests, feeds, updates and lists of outputs as files (protocol.md 5.3)."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

from pilot.core.errors import CommunicationFailure
from pilot.core.ranges import Archive, Chunk, Consumer, EventRange, Granted, KnownRange, RangeUpdate, Told
from pilot.lib.files import local_path
from pilot.plugins.sources.harvester_box import Box, Role

#: The keys of a range that have fields of their own.
_KNOWN = frozenset({"eventRangeID", "startEvent", "lastEvent", "LFN", "GUID", "scope", "PFN"})
_LOOK_S = 0.5


class HarvesterEvents:
    """Waits for Harvester, which looks at the access point once a cycle: up to `patience_s`, then the caller may come
    back for the same answer."""

    answer_s = 60.0

    def __init__(self, box: Box, patience_s: float = 300.0) -> None:
        self._box = box
        self._patience_s = patience_s
        self._guard = threading.Lock()
        self._fed: dict[str, list[EventRange]] = {}
        self._asked: set[str] = set()
        self._gone: dict[str, float] = {}
        self._empty: set[str] = set()
        self._written: set[str] = set()
        self._told_before: dict[int, set[str]] = {}

    def acquire(self, consumer: Consumer, count: int) -> Granted:
        """Ask for ranges, once, and wait for the feed. An empty feed means that there are no more."""
        key = str(consumer.job_id)
        watch = self._box.watch()
        try:
            end = time.monotonic() + self._patience_s
            while True:
                with self._guard:
                    granted = self._take(key)
                    if granted is None:
                        self._ask(consumer, key, count)
                if granted is not None:
                    return granted
                left = end - time.monotonic()
                if left <= 0 or not watch.wait(min(left, _LOOK_S) if key in self._gone else left):
                    raise CommunicationFailure("Harvester has not fed event ranges yet")
        finally:
            watch.close()

    def _take(self, key: str) -> Granted | None:
        """What was fed for the job; what was fed for others is kept for them.

        Harvester takes the request away last: as long as it lies there, the feed is not the answer to it, or not whole.
        """
        fed_now = None if self._box.busy(Role.EVENT_REQUEST) else self._box.event_ranges()
        for job, ranges in (fed_now or {}).items():
            self._asked.discard(job)
            self._gone.pop(job, None)
            if ranges:
                self._fed.setdefault(job, []).extend(_range(item) for item in ranges if "eventRangeID" in item)
            else:
                self._empty.add(job)
        fed = self._fed.pop(key, [])
        if fed:
            return Granted(tuple(fed))
        return Granted(exhausted=True) if key in self._empty else None

    def _ask(self, consumer: Consumer, key: str, count: int) -> None:
        if self._box.busy(Role.EVENT_REQUEST):
            self._asked.add(key)  # the request may be another pilot's: its answer is as good
            self._gone.pop(key, None)
            return
        if key in self._asked:
            # Harvester has taken the request away: either it failed, or a pilot beside this one was faster.
            now = time.monotonic()
            if now - self._gone.setdefault(key, now) < self._box.late_s:
                return
            self._gone.pop(key)
        wish: dict[str, Any] = {
            "pandaID": consumer.job_id,
            "taskID": consumer.task_id,
            "jobsetID": consumer.jobset_id,
            "nRanges": count,
        }
        if consumer.hpo:
            wish["isHPO"] = True
        if consumer.source_url:
            wish["sourceURL"] = consumer.source_url
        if self._box.write(Role.EVENT_REQUEST, {key: wish}):
            self._asked.add(key)

    def update(self, consumer: Consumer, chunks: Sequence[Chunk], version: int = 1) -> Told:
        """Write outcomes: those with outputs into the list of outputs, others into the file of updates.

        A pilot that was killed had written some, maybe, without having noted that: those are not written again.
        """
        if consumer.job_id not in self._told_before:
            self._told_before[consumer.job_id] = self._box.told(consumer.job_id)
        before = self._told_before[consumer.job_id]
        plain: list[dict[str, Any]] = []
        listed: list[dict[str, Any]] = []
        for chunk in chunks:
            for update in chunk.updates:
                entry = _listed(chunk.archive, update)
                (listed if entry else plain).append(entry or _plain(update))
        for role, entries in ((Role.DUMP, listed), (Role.EVENT_UPDATES, plain)):
            new = [e for e in entries if e["eventRangeID"] not in before and e["eventRangeID"] not in self._written]
            if new:
                self._write(role, {str(consumer.job_id): new}, consumer.job_id)
                self._written.update(entry["eventRangeID"] for entry in new)
        self._written.difference_update(entry["eventRangeID"] for entry in (*plain, *listed))
        return Told((True,) * (len(plain) + len(listed)))

    def _write(self, role: Role, content: Any, job_id: int) -> None:
        """In lock-step: once Harvester has taken the file before."""
        watch = self._box.watch()
        try:
            end = time.monotonic() + self._patience_s
            while not self._box.write(role, content, job_id):
                left = end - time.monotonic()
                if left <= 0 or not watch.wait(left):
                    raise CommunicationFailure("Harvester has not taken the event updates before these")
        finally:
            watch.close()

    def count(self, consumer: Consumer) -> int | None:
        """Harvester does not tell."""
        return None

    def states(self, consumer: Consumer) -> dict[str, KnownRange]:
        """Nor this."""
        return {}


def _range(item: dict[str, Any]) -> EventRange:
    return EventRange(
        str(item["eventRangeID"]),
        str(item.get("LFN") or ""),
        int(item.get("startEvent") or 0),
        int(item.get("lastEvent") or 0),
        str(item.get("GUID") or ""),
        str(item.get("scope") or ""),
        str(item.get("PFN") or ""),
        {key: value for key, value in item.items() if key not in _KNOWN},
    )


def _plain(update: RangeUpdate) -> dict[str, Any]:
    entry: dict[str, Any] = {"eventRangeID": update.id, "eventStatus": str(update.status)}
    if update.cores is not None:
        entry["coreCount"] = int(update.cores)
    if update.cpu_s is not None:
        entry["cpuConsumptionTime"] = int(update.cpu_s)
    if update.loss is not None:
        entry["loss"] = update.loss
    return entry


def _listed(archive: Archive | None, update: RangeUpdate) -> dict[str, Any] | None:
    """The entry of a range whose output lies where Harvester can see it."""
    path = local_path((archive.path if archive else "") or update.path or "")
    if not path:
        return None
    entry = {**_plain(update), "path": path, "type": "zip_output" if archive else "es_output"}
    size, adler32 = (archive.size, archive.adler32) if archive else (update.size, update.adler32)
    if archive:
        entry["isZip"] = 1
    if size is not None:
        entry["fsize"] = int(size)
    if adler32:
        entry["chksum"] = adler32
    return entry
