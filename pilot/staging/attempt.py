"""One try of a group of files with one tool: temporary name, move, verify, final name."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator, Sequence

import msgspec

from pilot.core.staging import StagingSettings
from pilot.core.transfer import Checksum, Endpoint
from pilot.lib.checksum import checksum_of
from pilot.lib.files import local_path, name_file, part_path
from pilot.plugins.copytools.base import (
    CopyTool,
    Fault,
    Move,
    Moved,
    ToolError,
    Watch,
    not_plain,
    source_fault,
    target_fault,
)
from pilot.staging.verify import Try, Verifier, discard_quietly, kind_of

#: What is here of a file after these may be the beginning of it.
_GOES_ON = frozenset({Fault.CUT, Fault.STALLED, Fault.NETWORK, Fault.SERVICE, Fault.TIMEOUT})


class Tried:
    """What came of a `Try`: the tool's word, `seconds` of work, and the kind of a checksum that did not fit."""

    __slots__ = ("item", "kind", "moved", "seconds")

    def __init__(self, item: Try, moved: Moved, seconds: float = 0.0, kind: str = "") -> None:
        self.item = item
        self.moved = moved
        self.seconds = seconds
        self.kind = kind


class Attempter:
    """Carries out tries. Threads: any number may call `run` at once; directories already made are remembered."""

    def __init__(self, settings: StagingSettings, token: str) -> None:
        self._settings = settings
        self._token = token
        self._directories: set[str] = set()
        self._verifier = Verifier(settings.verify, token)
        self._nameless = os.path.isdir("/proc/self/fd")

    def run(self, tool: CopyTool, items: Sequence[Try], watch: Watch) -> Iterator[Tried]:
        """Yield what came of each try, as it is settled.

        Raises `ToolError` when the tool gave up on all that were not yielded. Of a failed file nothing is left, unless
        the tool can go on where it ended: then `sweep` must be called once nothing more is tried.
        """
        ready: list[tuple[Try, Move, dict[str, str], float]] = []
        for item in items:
            begin = time.perf_counter()
            try:
                if (there := self._in_place(tool, item, watch)) is not None:
                    yield Tried(item, there, time.perf_counter() - begin)
                    continue
                ready.append((item, *self._prepare(tool, item, watch)))
            except ToolError as error:
                self._drop(item)
                if error.fault is Fault.CANCELLED:
                    raise
                moved = Moved(fault=error.fault, detail=error.detail)
                yield Tried(item, moved, time.perf_counter() - begin, kind_of(error))
        begin = time.perf_counter()
        results = tool.move([move for _, move, _, _ in ready], watch)
        done = 0
        try:
            for (item, _, sums, hashing), moved in zip(ready, results, strict=True):
                done += 1
                tried = self._finish(tool, item, moved, sums, watch)
                now = time.perf_counter()
                tried.seconds, begin = now - begin + hashing, now
                yield tried
        finally:
            for item, _, _, _ in [] if tool.ability.resumes else ready[done:]:
                self._drop(item)

    def _prepare(self, tool: CopyTool, item: Try, watch: Watch) -> tuple[Move, dict[str, str], float]:
        """The tool's order for the file, with the checksums of a source that the tool will not read itself."""
        transfer, settings = item.transfer, self._settings
        target = item.target.url
        if item.final is not None:
            self._make_directory(item.final)
            item.part = "" if tool.ability.lands else part_path(item.final, self._token)
            target = item.part or item.final
            if not settings.overwrite and os.path.lexists(item.final):
                raise ToolError(Fault.EXISTS, item.final)
        sums, hashing = {}, 0.0
        if item.feed is not None and not tool.ability.feeds:
            item.feed.leave()
            item.feed = None
        if item.local_source is not None and not tool.ability.blind and not (tool.ability.hashes and item.part):
            self._check_source(item, item.local_source)
            if not (item.part or item.feed) and (item.kinds if not tool.ability.hashes else transfer.checksums):
                begin = time.perf_counter()
                sums = self._hash_source(item, watch)
                hashing = time.perf_counter() - begin
        move = Move(
            source=item.local_source or item.source.url,
            target=target,
            lfn=transfer.lfn,
            scope=transfer.scope,
            guid=transfer.guid,
            dataset=transfer.dataset,
            rse=item.source.rse or item.target.rse,
            site=item.target.site if item.final is None else item.source.site,
            direction=transfer.direction,
            size=transfer.size,
            checksums=transfer.checksums or tuple(Checksum(kind, value) for kind, value in sums.items()),
            kinds=item.kinds,
            resume=item.resume and tool.ability.resumes,
            overwrite=settings.overwrite,
            fsync=settings.fsync,
            nameless=self._nameless and bool(item.part),
            feed=item.feed,
        )
        return move, sums, hashing

    def _in_place(self, tool: CopyTool, item: Try, watch: Watch) -> Moved | None:
        """What is told of a file whose source is its target already: it stays as it is, once it is what it must be.

        Raises `ToolError` where something lies under the final name that no file may replace: a device, a pipe.
        """
        final, source = item.final, item.local_source
        if final is None or not os.access(final, os.F_OK):
            return None
        mode = os.lstat(final).st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode) or stat.S_ISDIR(mode)):
            raise ToolError(Fault.REFUSED, f"{final} is a device or a pipe, which no file replaces")
        same = source is not None and os.path.exists(source) and os.path.samefile(source, final)
        if not same or tool.ability.lands or not self._settings.overwrite:
            return None
        if item.feed is not None:
            item.feed.leave()
        if tool.ability.blind:
            return Moved()
        begin = time.perf_counter()
        self._check_source(item, final)
        sums = self._hash_source(item, watch)
        return Moved(os.stat(final).st_size, sums, time.perf_counter() - begin)

    def _check_source(self, item: Try, path: str) -> None:
        """Raise `ToolError` for a source that is no file or not of the expected size."""
        try:
            found = os.stat(path)
        except OSError as error:
            raise source_fault(error, path) from error
        if not stat.S_ISREG(found.st_mode):
            raise not_plain(path)
        self._verifier.check_size(item, found.st_size)

    def _hash_source(self, item: Try, watch: Watch) -> dict[str, str]:
        """The checksums of what is going to be sent, so that nothing else is."""
        path = item.local_source or ""
        try:
            sums = checksum_of(path, item.kinds, lambda count: watch.check()).values()
        except OSError as error:
            raise source_fault(error, path) from error
        self._verifier.check_sums(item, sums)
        return sums

    def _make_directory(self, path: str) -> None:
        directory = path[: path.rfind("/")] or "/"
        if directory not in self._directories:
            try:
                os.makedirs(directory, exist_ok=True)
            except OSError as error:
                fault = target_fault(error, directory)
                if fault.fault is Fault.EXISTS:
                    fault = ToolError(Fault.NO_DIRECTORY, f"{directory} is no directory")
                raise fault from error
            self._directories.add(directory)

    def _finish(self, tool: CopyTool, item: Try, moved: Moved, sums: dict[str, str], watch: Watch) -> Tried:
        """Verify what arrived and give it its name, or remove it."""
        kind, judged, descriptor = moved.kind, moved.fault is None, moved.descriptor
        if item.feed is not None:
            item.feed.leave()
        try:
            if judged:
                settled = self._verifier.verify(tool, item, moved, sums, watch)
                if item.part and item.final is not None:
                    if descriptor is None:
                        os.rename(item.part, item.final)
                        if not tool.ability.hashes:
                            self._drop(item)  # of two links to one file, a rename leaves both
                    else:
                        name_file(descriptor, item.final, item.part, self._settings.overwrite)
                return Tried(item, settled)
        except ToolError as error:
            if error.fault is Fault.CANCELLED:
                self._drop(item)
                raise
            moved, kind = Moved(size=moved.size, fault=error.fault, detail=error.detail), kind_of(error)
        except OSError as error:
            fault = target_fault(error, item.final or item.part)
            moved = Moved(fault=fault.fault, detail=fault.detail)
        finally:
            if descriptor is not None:
                os.close(descriptor)
        if judged or not (tool.ability.resumes and moved.fault in _GOES_ON):
            self._drop(item)
        if item.part and item.final and item.part in moved.detail:  # people know the file by its final name
            moved = msgspec.structs.replace(moved, detail=moved.detail.replace(item.part, item.final))
        return Tried(item, moved, 0.0, kind)

    def sweep(self, target: Endpoint) -> None:
        """Remove what may be left of a file that will not come."""
        final = local_path(target.url)
        if final is not None:
            discard_quietly(part_path(final, self._token))

    @staticmethod
    def _drop(item: Try) -> None:
        if item.part:
            discard_quietly(item.part)
