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

#: What is here of a file after these may be the beginning of it.
_GOES_ON = frozenset({Fault.CUT, Fault.STALLED, Fault.NETWORK, Fault.SERVICE, Fault.TIMEOUT})


class Try:
    """One file of a group: where it comes from and goes to now. `key` is the caller's."""

    __slots__ = ("final", "key", "kinds", "local_source", "part", "resume", "source", "target", "transfer")

    def __init__(
        self,
        transfer: Transfer,
        source: Endpoint,
        target: Endpoint,
        kinds: tuple[str, ...],
        key: int = 0,
        resume: bool = False,
    ) -> None:
        self.key = key
        self.resume = resume
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

        Raises `ToolError` when the tool gave up on all that were not yielded. Of a failed file nothing is left, unless
        the tool can go on where it ended: then `sweep` must be called once nothing more is tried.
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
        if not tool.ability.hashes and item.local_source is not None and not item.part and item.kinds:
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
            resume=item.resume and tool.ability.resumes,
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
        kind, judged = "", moved.fault is None
        try:
            if judged:
                moved = self._verify(tool, item, moved, sums, watch)
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
        if judged or not (tool.ability.resumes and moved.fault in _GOES_ON):
            self._drop(item)
        return Tried(item, moved, 0.0, kind)

    def sweep(self, target: Endpoint) -> None:
        """Remove what may be left of a file that will not come."""
        final = local_path(target.url)
        if final is not None:
            _discard(part_path(final, self._token))

    def _verify(self, tool: CopyTool, item: Try, moved: Moved, sums: dict[str, str], watch: Watch) -> Moved:
        """The result with all checksums; raises `ToolError` where it is not what was expected."""
        self._check_size(item, moved.size)
        known = moved.checksums or sums
        spent = moved.checksum_seconds
        if item.kinds and not known and item.part:
            begin = time.perf_counter()
            known = checksum_of(item.part, item.kinds, lambda count: watch.check()).values()
            spent += time.perf_counter() - begin
        try:
            self._check_sums(item, known)
        except _Mismatch as error:
            if moved.resumed or (item.local_source is None and _right_at_source(tool, item, error.kind, watch)):
                raise _Mismatch(error.kind, error.detail, Fault.DAMAGED) from error
            raise
        if item.final is None and not tool.ability.proves and self._settings.verify:
            _prove(tool, item, moved.size, known, watch)
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
            _discard(item.part)


def _discard(path: str) -> None:
    try:
        discard(path)
    except OSError:
        # The directory is gone or read-only: then nothing of ours lies under the final name either.
        pass


def _right_at_source(tool: CopyTool, item: Try, kind: str, watch: Watch) -> bool:
    """Whether the storage itself says that its file is the expected one: then it was damaged on the way."""
    try:
        told = tool.stat(item.source.url, watch.cancel).checksums.get(kind)
    except ToolError:
        return False
    return any(told == expected.value for expected in item.transfer.checksums if expected.kind == kind)


def _prove(tool: CopyTool, item: Try, size: int, sums: dict[str, str], watch: Watch) -> None:
    """Ask the storage what it has now; what is not the file is removed. Raises `ToolError`."""
    url = item.target.url
    try:
        found = tool.stat(url, watch.cancel)
    except ToolError as error:
        if error.fault is Fault.UNSUPPORTED:
            return
        fault = Fault.CUT if error.fault is Fault.MISSING else error.fault
        raise ToolError(fault, f"it was sent, but: {error}") from error
    wrong = [kind for kind, value in found.checksums.items() if sums.get(kind, value) != value]
    if found.size not in (None, size):
        detail = f"{url} has {found.size} bytes instead of {size}"
    elif wrong:
        detail = f"{url}: {wrong[0]} {found.checksums[wrong[0]]} instead of {sums[wrong[0]]}"
    else:
        return
    try:
        tool.remove(url)
    except ToolError as error:
        detail = f"{detail}, and it could not be removed: {error}"
    if wrong:
        raise _Mismatch(wrong[0], detail, Fault.DAMAGED)
    raise ToolError(Fault.DAMAGED, detail)


class _Mismatch(ToolError):
    """A checksum that is not the expected one; its kind decides on the error number."""

    def __init__(self, kind: str, detail: str, fault: Fault = Fault.CORRUPT) -> None:
        super().__init__(fault, detail)
        self.kind = kind


def _kind(error: ToolError) -> str:
    return error.kind if isinstance(error, _Mismatch) else ""
