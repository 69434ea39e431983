"""One try of a group of files with one tool: temporary name, move, verify, final name."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence

from pilot.core.staging import StagingSettings
from pilot.core.transfer import Checksum, Endpoint, Transfer
from pilot.lib.checksum import checksum_of
from pilot.lib.files import discard, local_path, part_path
from pilot.plugins.copytools.base import CopyTool, Fault, Move, Moved, ToolError, Watch
from pilot.plugins.copytools.local import source_fault, target_fault


class Try:
    """One file of a group: where it comes from and goes to now. `key` is the caller's."""

    __slots__ = ("final", "key", "kinds", "local_source", "part", "source", "target", "transfer")

    def __init__(
        self, transfer: Transfer, source: Endpoint, target: Endpoint, kinds: tuple[str, ...], key: int = 0
    ) -> None:
        self.key = key
        self.transfer = transfer
        self.source = source
        self.target = target
        self.local_source = local_path(source.url)
        self.final = local_path(target.url)
        self.part = ""
        for expected in transfer.checksums:
            if expected.kind not in kinds:
                kinds = (*kinds, expected.kind)
        self.kinds = kinds


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

    def run(self, tool: CopyTool, items: Sequence[Try], watch: Watch) -> Iterator[Tried]:
        """Yield what came of each try, as it is settled.

        Raises `ToolError` when the tool gave up on all that were not yielded; nothing is left of them.
        """
        ready: list[tuple[Try, Move, dict[str, str], float]] = []
        for item in items:
            begin = time.perf_counter()
            try:
                ready.append((item, *self._prepare(tool, item, watch)))
            except ToolError as error:
                self._drop(item)
                if error.fault is Fault.CANCELLED:
                    raise
                moved = Moved(fault=error.fault, detail=error.detail)
                yield Tried(item, moved, time.perf_counter() - begin, _kind(error))
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
            for item, _, _, _ in ready[done:]:
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
        if not tool.ability.hashes and item.local_source is not None and item.kinds:
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
            direction=transfer.direction,
            size=transfer.size,
            checksums=transfer.checksums or tuple(Checksum(kind, value) for kind, value in sums.items()),
            kinds=item.kinds,
            resume=tool.ability.resumes,
            overwrite=settings.overwrite,
            fsync=settings.fsync,
        )
        return move, sums, hashing

    def _hash_source(self, item: Try, watch: Watch) -> dict[str, str]:
        path = item.local_source or ""
        try:
            size = os.stat(path).st_size
            self._check_size(item, size)
            sums = checksum_of(path, item.kinds, lambda count: watch.check()).values()
        except OSError as error:
            raise source_fault(error, path) from error
        self._check_sums(item, sums)
        return sums

    def _make_directory(self, path: str) -> None:
        directory = os.path.dirname(path)
        if directory not in self._directories:
            try:
                os.makedirs(directory, exist_ok=True)
            except OSError as error:
                fault = target_fault(error, directory)
                wrong = Fault.NO_DIRECTORY if fault.fault is Fault.EXISTS else fault.fault
                raise ToolError(wrong, fault.detail) from error
            self._directories.add(directory)

    def _finish(self, tool: CopyTool, item: Try, moved: Moved, sums: dict[str, str], watch: Watch) -> Tried:
        """Verify what arrived and give it its name, or remove it."""
        kind = ""
        try:
            if moved.fault is None:
                moved = self._verify(item, moved, sums, watch)
                if item.part and item.final is not None:
                    os.rename(item.part, item.final)
                return Tried(item, moved)
        except ToolError as error:
            if error.fault is Fault.CANCELLED:
                self._drop(item)
                raise
            moved, kind = Moved(size=moved.size, fault=error.fault, detail=error.detail), _kind(error)
        except OSError as error:
            fault = target_fault(error, item.final or item.part)
            moved = Moved(fault=fault.fault, detail=fault.detail)
        self._drop(item)
        return Tried(item, moved, 0.0, kind)

    def _verify(self, item: Try, moved: Moved, sums: dict[str, str], watch: Watch) -> Moved:
        """The result with all checksums; raises `ToolError` where it is not what was expected."""
        self._check_size(item, moved.size)
        known = moved.checksums or sums
        spent = moved.checksum_seconds
        if item.kinds and not known and item.part:
            begin = time.perf_counter()
            known = checksum_of(item.part, item.kinds, lambda count: watch.check()).values()
            spent += time.perf_counter() - begin
        self._check_sums(item, known)
        return Moved(size=moved.size, checksums=known, checksum_seconds=spent, target=moved.target)

    def _check_size(self, item: Try, size: int) -> None:
        expected = item.transfer.size
        if expected is not None and size != expected and self._settings.verify:
            raise ToolError(Fault.CORRUPT, f"{item.source.url} has {size} bytes instead of {expected}")

    def _check_sums(self, item: Try, sums: dict[str, str]) -> None:
        if not self._settings.verify:
            return
        for expected in item.transfer.checksums:
            value = sums.get(expected.kind, expected.value)
            if value != expected.value:
                raise _Mismatch(
                    expected.kind, f"{item.source.url}: {expected.kind} {value} instead of {expected.value}"
                )

    @staticmethod
    def _drop(item: Try) -> None:
        if item.part:
            try:
                discard(item.part)
            except OSError:
                # The directory is gone or read-only: then nothing of ours lies under the final name either.
                pass


class _Mismatch(ToolError):
    """A checksum that is not the expected one; its kind decides on the error number."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(Fault.CORRUPT, detail)
        self.kind = kind


def _kind(error: ToolError) -> str:
    return error.kind if isinstance(error, _Mismatch) else ""
