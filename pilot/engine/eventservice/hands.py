"""Carries out what one event service job orders: with threads that may wait, never in the thread that gives orders."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from pilot.core.errors import FileHandlingFailure, NoLocalSpace, PilotError
from pilot.core.ranges import Chunk, Consumer, EventRange, Granted, Told
from pilot.core.rangestate import ArchiveState, Row, StoredArchive
from pilot.core.storage import StagingSite
from pilot.db.ranges import RangeStore
from pilot.engine.eventservice.storing import store
from pilot.lib.cancel import Cancel
from pilot.lib.loop import Loop, Timer
from pilot.lib.worker import Worker
from pilot.plugins.sources.base import EventSource
from pilot.runtime.eventarchive import ArchiveWriter
from pilot.runtime.eventjob import EventJob
from pilot.staging.transfer import Transferer

if TYPE_CHECKING:
    from pilot.engine.eventservice.inputs import Inputs

_log = logging.getLogger("pilot.events")


class Tools(msgspec.Struct, frozen=True):
    """What all jobs of a pilot share: the loop of `events`, threads for what takes time, the server, the PilotDB."""

    loop: Loop
    work: Worker
    source: EventSource
    store: RangeStore
    transferer: Transferer


class JobHands:
    """Of one job.

    `folder` takes its archives until they are sent to `site`, `outside` translates paths that workers tell.
    `on_command` hears the server's words about the job, `on_trouble` why it cannot go on; `finished` is called once
    everything is settled.
    """

    def __init__(
        self,
        tools: Tools,
        key: str,
        consumer: Consumer,
        site: StagingSite,
        folder: Path,
        inputs: Inputs,
        outside: Callable[[str], str],
        version: int,
        on_command: Callable[[str], None],
        on_trouble: Callable[[PilotError], None],
    ) -> None:
        self.job: EventJob
        self.key = key
        self.cancel = Cancel()
        self._outside = outside
        self._tools = tools
        self._consumer = consumer
        self._site = site
        self._folder = folder
        self._inputs = inputs
        self._version = version
        self._on_command, self._on_trouble = on_command, on_trouble
        self.finished: Callable[[], None] = _nothing
        self._rows: list[Row] = []
        self._archives: list[StoredArchive] = []
        self._writer: ArchiveWriter | None = None
        self._first_id = ""
        self._posted = self._closed = False
        self._timer: Timer | None = None

    # orders

    def ask(self, count: int) -> None:
        """Ask the server for ranges."""

        def done(granted: Granted | None, error: PilotError | None) -> None:
            if granted is not None:
                _log.debug("%s: asked for %d ranges, got %d", self.key, count, len(granted.ranges))
                self.job.granted(granted)
            elif error is not None:
                _log.warning("%s: no event ranges were got: %s", self.key, error)
                self.job.not_granted(error)

        self._do(lambda: self._tools.source.acquire(self._consumer, count), done)

    def tell(self, chunks: Sequence[Chunk]) -> None:
        """Tell the server what became of ranges."""

        def done(told: Told | None, error: PilotError | None) -> None:
            if told is None:
                _log.warning("%s: the outcomes of event ranges were not told: %s", self.key, error)
                before = self.job.failure
                self.job.not_told(error)
                if self.job.failure is not None and self.job.failure is not before:
                    self._on_trouble(self.job.failure)
                return
            self.job.told(told)
            if word := told.commands.get(self._consumer.job_id):
                self._on_command(word)

        self._do(lambda: self._tools.source.update(self._consumer, chunks, self._version), done)

    def pack(self, archive: int, outputs: Sequence[tuple[int, str, str]]) -> None:
        """Append outputs to the open archive."""
        first = outputs[0][1]

        def work() -> tuple[list[int], dict[int, str], int]:
            if self._writer is None:
                self._folder.mkdir(parents=True, exist_ok=True)
                self._writer = ArchiveWriter(self._folder / f"EventService_premerge_{first}.tar", self._folder.parent)
            good, bad = self._writer.add(outputs)
            return good, bad, self._writer.size

        def done(result: tuple[list[int], dict[int, str], int] | None, error: PilotError | None) -> None:
            if result is not None:
                for why in result[1].values():
                    _log.error("%s: %s", self.key, why)
                self.job.packed(*result)
            else:
                self.job.spoiled(str(error))

        self._do(_with_disk(work, self._folder), done)

    def close_archive(self, archive: int, events: int) -> None:
        """Finish the open archive's file."""

        def work() -> StoredArchive:
            assert self._writer is not None
            path = self._writer.path
            size, adler32 = self._writer.close()
            self._writer = None
            return StoredArchive(archive, path.name, str(path), ArchiveState.CLOSED, size, adler32, events)

        def done(closed: StoredArchive | None, error: PilotError | None) -> None:
            if closed is not None:
                self.job.closed(closed)
            else:
                self.job.spoiled(str(error))

        self._do(_with_disk(work, self._folder), done)

    def discard(self, archive: int) -> None:
        """Remove the open archive: before the next is begun, which may have its name and needs its room."""
        self._close_writer()

    def store(self, archive: StoredArchive) -> None:
        """Send an archive away; the local file goes once that is done."""

        def done(stored: StoredArchive | None, error: PilotError | None) -> None:
            if stored is not None:
                _log.info("%s: %s with %d events is at %s", self.key, stored.lfn, stored.events, stored.surl)
                self.job.stored(stored)
                self.drop_outputs([archive.path])
            elif error is not None:
                _log.error("%s: %s could not be stored: %s", self.key, archive.lfn, error)
                self.job.not_stored(archive, error)

        self._do(lambda: store(self._tools.transferer, self._site, archive, self.cancel), done)

    def save(self, archives: Sequence[StoredArchive]) -> None:
        """Write to the PilotDB, now. What cannot be written is kept and written with the next; the job is stopped."""
        self._rows.extend(self.job.ledger.unwritten())
        self._archives.extend(archives)
        try:
            self._tools.store.write(self.key, self._rows, self._archives)
        except PilotError as error:
            _log.error("%s: %s", self.key, error)
            self._on_trouble(error)
            return
        self._rows, self._archives = [], []

    def drop_outputs(self, paths: Sequence[str]) -> None:
        """Remove files that are in an archive, or on storage, by now."""

        def work() -> None:
            for path in paths:
                with contextlib.suppress(OSError):
                    os.unlink(path)

        self._tools.work.submit(work, lambda result, error: None)

    def present(self, item: EventRange) -> EventRange | None:
        """The range with the path of its input."""
        path = self._inputs.path(item)
        return None if path is None else msgspec.structs.replace(item, path=path)

    def outside(self, path: str) -> str:
        """A path that a worker told, as it is called outside its container; a bare name lies in the job's directory."""
        return os.path.join(self._folder.parent, self._outside(path))

    def over(self) -> None:
        """Everything is settled."""
        self.finished()

    # the rhythm of orders

    def wake(self) -> None:
        """Have the job look at what is due, once this round of news is taken in."""
        if not self._posted and not self._closed:
            self._posted = True
            self._tools.loop.post(self._step)

    def close(self) -> None:
        """Give no more orders; answers that come are dropped."""
        self._closed = True
        self.cancel.set()
        self._inputs.close()
        if self._timer is not None:
            self._timer.cancel()
        self._tools.work.submit(self._close_writer, lambda result, error: None)

    def _close_writer(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.abort()

    def _step(self) -> None:
        self._posted = False
        if self._closed:
            return
        self.job.step()
        self._inputs.prepare(self.job.ledger)
        due = self.job.due()
        if due is None or (self._timer is not None and self._timer.callback and self._timer.when <= due):
            return  # the timer that is set comes soon enough, and then this is looked at again
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._tools.loop.after(max(0.0, due - time.monotonic()), self.wake)

    def _do(self, work: Callable[[], Any], done: Callable[[Any, PilotError | None], None]) -> None:
        def post(result: Any, error: PilotError | None) -> None:
            self._tools.loop.post(lambda: None if self._closed else done(result, error))

        self._tools.work.submit(work, post)


def _nothing() -> None:
    """Nobody waits for the end of the job yet."""


def _with_disk(work: Callable[[], Any], place: Path) -> Callable[[], Any]:
    """The same work, with the errors of the disk in our own terms."""

    def run() -> Any:
        try:
            return work()
        except OSError as error:
            kind = NoLocalSpace if error.errno == 28 else FileHandlingFailure
            raise kind(f"{place}: {error.strerror}") from error

    return run
