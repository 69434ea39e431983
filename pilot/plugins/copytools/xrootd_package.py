"""root:// and roots:// through the XRootD client library in this process (PyPI `xrootd`)."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from pilot.core.staging import ToolSettings
from pilot.lib.cancel import Cancel
from pilot.plugins.copytools.base import Ability, Fault, Found, Move, Moved, ToolError, Watch
from pilot.plugins.copytools.xrootd_environment import give_to_process
from pilot.plugins.copytools.xrootd_words import fault_of, is_directory


class XrootdPackage:
    """All files of a call are jobs of one copy process, which keeps its connections.

    The library has one set of credentials for the whole process, that of the tool that was used last, and looks for the
    authorities' certificates but once.
    A cancel is heard between two blocks; a server that says nothing holds it up until the stream's time is over.
    """

    ability: ClassVar[Ability] = Ability(feeds=True, parallel=2, batch=100, by_replica=True)

    def __init__(self, settings: ToolSettings) -> None:
        self.settings = settings
        self._guard = threading.Lock()
        self._loaded: Any = None

    @property
    def _client(self) -> Any:
        with self._guard:
            if self._loaded is None:
                try:
                    from XRootD import client
                except ImportError as error:
                    raise ToolError(Fault.NO_TOOL, f"neither xrdcp nor the package xrootd is here: {error}") from error
                for name, value in (
                    ("ConnectionWindow", self.settings.connect_s),
                    ("ConnectionRetry", 1),
                    ("StreamTimeout", self.settings.stall_s),
                    ("RequestTimeout", self.settings.stall_s),
                    ("TimeoutResolution", 1),
                ):
                    client.EnvPutInt(name, max(1, round(value)))
                self._loaded = client
            give_to_process(self._loaded, self.settings)
            return self._loaded

    def move(self, moves: Sequence[Move], watch: Watch) -> Iterator[Moved]:
        """Give all jobs to one copy process and tell them in order when it is through."""
        if len(moves) == 1 and moves[0].feed is not None:
            yield self._fed(moves[0], watch)
            return
        watch.begin(Move(moves[0].source, moves[0].target, size=sum(move.size or 0 for move in moves)))
        process = self._client.CopyProcess()
        missing = [move.source[:1] == "/" and not os.path.isfile(move.source) for move in moves]
        for move, gone in zip(moves, missing, strict=True):
            if not gone:
                process.add_job(move.source, move.target, force=move.overwrite, posc=move.target[:1] != "/", mkdir=True)
        status, _ = process.prepare(), None
        if not status.ok:
            raise fault_of(status.message, put=False, url=moves[0].source)
        handler = _Progress(watch)
        _, results = process.run(handler)
        if handler.error is not None:
            raise handler.error
        told = iter(results)
        for move, gone in zip(moves, missing, strict=True):
            if gone:
                yield Moved(fault=Fault.MISSING, detail=move.source)
                continue
            yield _result(move, next(told)["status"])

    def _fed(self, move: Move, watch: Watch) -> Moved:
        """One file, as blocks; the engine compares with what the server then says of it."""
        from pilot.plugins.copytools.xrootd_stream import send_stream

        watch.begin(move)
        try:
            return send_stream(self._client, move, watch)
        except ToolError as error:
            if error.fault is Fault.CANCELLED:
                raise
            return Moved(fault=error.fault, detail=error.detail)

    def stat(self, url: str, cancel: Cancel | None = None) -> Found:
        """Size and, if the server gives one, its checksum."""
        parts = self._client.URL(url)
        system = self._client.FileSystem(f"{parts.protocol}://{parts.hostid}")
        status, found = system.stat(parts.path)
        if not status.ok:
            raise fault_of(status.message, put=False, url=url)
        if found.flags & self._flags.IS_DIR:
            return Found(directory=True)
        sums: dict[str, str] = {}
        status, answer = system.query(self._query.CHECKSUM, parts.path)
        if status.ok and answer:
            words = answer.decode("ascii", "replace").strip("\0").split()
            if len(words) == 2:
                sums[words[0].lower()] = words[1].lower().zfill(8)
        return Found(found.size, sums)

    @property
    def _flags(self) -> Any:
        from XRootD.client.flags import StatInfoFlags

        return StatInfoFlags

    @property
    def _query(self) -> Any:
        from XRootD.client.flags import QueryCode

        return QueryCode

    def remove(self, url: str, recursive: bool = False) -> None:
        """Delete a file, or a directory after all in it."""
        parts = self._client.URL(url)
        system = self._client.FileSystem(f"{parts.protocol}://{parts.hostid}")
        if recursive and is_directory(self, url):
            _, listed = system.dirlist(parts.path)
            for entry in listed or ():
                self.remove(f"{parts.protocol}://{parts.hostid}/{parts.path.rstrip('/')}/{entry.name}", True)
            status, _ = system.rmdir(parts.path)
        else:
            status, _ = system.rm(parts.path)
        if not status.ok:
            error = fault_of(status.message, put=True, url=url)
            if error.fault is not Fault.MISSING:
                raise error

    def make_directory(self, url: str) -> None:
        """Make it and those above it."""
        from XRootD.client.flags import MkDirFlags

        parts = self._client.URL(url)
        status, _ = self._client.FileSystem(f"{parts.protocol}://{parts.hostid}").mkdir(parts.path, MkDirFlags.MAKEPATH)
        if not status.ok:
            error = fault_of(status.message, put=True, url=url)
            if error.fault is not Fault.EXISTS:
                raise error

    def close(self) -> None:
        """The library closes its connections itself when they are idle."""


class _Progress:
    """The copy process's handler: tells the watch, and asks for the end when that is wanted."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._seen: dict[int, int] = {}
        self.error: ToolError | None = None
        self._moved_at = time.monotonic()

    def begin(self, job: int, total: int, source: object, target: object) -> None:
        """A file begins."""

    def end(self, job: int, results: object) -> None:
        """A file has ended."""

    def update(self, job: int, done: int, total: int) -> None:
        """So much of a file has passed."""
        grown = done - self._seen.get(job, 0)
        self._seen[job] = done
        try:
            self._watch.moved(grown)
        except ToolError as error:
            self.error = error

    def should_cancel(self, job: int) -> bool:
        """Whether the library shall stop."""
        if self._watch.cancel.is_set() and self.error is None:
            self.error = ToolError(Fault.CANCELLED)
        return self.error is not None


def _result(move: Move, status: Any) -> Moved:
    here = move.target if move.target[:1] == "/" else move.source
    if not status.ok:
        error = fault_of(status.message, put=here is move.source, url=move.source)
        return Moved(fault=error.fault, detail=error.detail)
    try:
        return Moved(size=os.stat(here).st_size)
    except OSError as error:
        return Moved(fault=Fault.CUT, detail=f"{here}: {error.strerror}")
