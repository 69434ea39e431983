"""Whether what arrived is the file: sizes, checksums, and what a storage says of what it received."""

from __future__ import annotations

import os
import time

from pilot.core.transfer import Endpoint, Transfer
from pilot.lib.checksum import checksum_of
from pilot.lib.files import discard, local_path
from pilot.lib.sharedread import Feed
from pilot.plugins.copytools.base import CopyTool, Fault, Found, Move, Moved, ToolError, Watch


class Try:
    """One file of a group: where it comes from and goes to now. `key` is the caller's."""

    __slots__ = ("feed", "final", "key", "kinds", "local_source", "part", "resume", "source", "target", "transfer")

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
        self.feed: Feed | None = None
        self.resume = resume
        self.transfer = transfer
        self.source = source
        self.target = target
        self.local_source = local_path(source.url)
        self.final = local_path(target.url)
        self.part = ""
        if transfer.checksums or transfer.kinds:
            kinds = tuple(dict.fromkeys((*kinds, *transfer.kinds, *(c.kind for c in transfer.checksums))))
        self.kinds = kinds


class Verifier:
    """Judges what tools report. With `wanted` False, sizes and checksums are told but nothing is refused."""

    def __init__(self, wanted: bool, token: str) -> None:
        self._wanted = wanted
        self._token = token

    def verify(self, tool: CopyTool, item: Try, moved: Moved, sums: dict[str, str], watch: Watch) -> Moved:
        """The result with all checksums; raises `ToolError` where it is not what was expected."""
        if tool.ability.blind:
            return moved
        self._check_whole(tool, item, moved.size, watch)
        self.check_size(item, moved.size)
        known = moved.checksums or sums
        spent = moved.checksum_seconds
        if item.part and len(known) < len(item.kinds):
            begin = time.perf_counter()
            missing = [kind for kind in item.kinds if kind not in known]
            known = known | checksum_of(item.part, missing, lambda count: watch.check()).values()
            spent += time.perf_counter() - begin
        try:
            self.check_sums(item, known)
        except _Mismatch as error:
            if item.final is None:  # it changed after it had been looked at: what lies there now is not the file
                _take_away(tool, item.target.url)
            if moved.resumed or (item.local_source is None and _right_at_source(tool, item, error.kind, watch)):
                raise _Mismatch(error.kind, error.detail, Fault.DAMAGED) from error
            raise
        if item.final is None and self._wanted and (not moved.proven or item.transfer.read_back):
            _prove(tool, item, moved.size, known, watch, self._token)
        return Moved(size=moved.size, checksums=known, checksum_seconds=spent, target=moved.target)

    def _check_whole(self, tool: CopyTool, item: Try, size: int, watch: Watch) -> None:
        """Raise `ToolError` for less than the file: libraries there are that call a file done when the disk is full.

        Tools that hash count the bytes that they wrote. Of the others only the storage knows how many it has, where
        the asker does not.
        """
        if tool.ability.hashes or not item.part or item.local_source is not None:
            return
        expected = item.transfer.size
        if expected is None:
            if _room_for(item.part, max(size, _TIGHT)):
                return
            try:
                expected = tool.stat(item.source.url, watch.cancel).size
            except ToolError:
                return
        if expected is not None and size < expected:
            if not _room_for(item.part, expected - size):
                raise ToolError(Fault.NO_SPACE, f"{item.final}: {size} of {expected} bytes found room")
            if item.transfer.size is None:
                raise ToolError(Fault.CUT, f"{item.source.url}: {size} of {expected} bytes came")

    def check_size(self, item: Try, size: int) -> None:
        """Raise `ToolError` for a size that is not the expected one."""
        expected = item.transfer.size
        if expected is not None and size != expected and self._wanted:
            raise ToolError(Fault.CORRUPT, f"{item.source.url} has {size} bytes instead of {expected}")

    def check_sums(self, item: Try, sums: dict[str, str]) -> None:
        """Raise `ToolError` for a checksum that is not the expected one."""
        if not self._wanted:
            return
        for expected in item.transfer.checksums:
            value = sums.get(expected.kind, expected.value)
            if value != expected.value:
                raise _Mismatch(
                    expected.kind, f"{item.source.url}: {expected.kind} {value} instead of {expected.value}"
                )


#: A file system with less room than this may have been full a moment ago.
_TIGHT = 64 << 20


def _room_for(path: str, size: int) -> bool:
    """Whether so many bytes more would find room beside a file."""
    try:
        found = os.statvfs(os.path.dirname(path))
    except OSError:
        return True
    return found.f_bavail * found.f_frsize >= size


def discard_quietly(path: str) -> None:
    """Remove a file of ours, if that can be done."""
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


def _prove(tool: CopyTool, item: Try, size: int, sums: dict[str, str], watch: Watch, token: str) -> None:
    """Ask the storage what it has now; what is not the file is removed. Raises `ToolError`."""
    url = item.target.url
    try:
        found = tool.stat(url, watch.cancel)
    except ToolError as error:
        if error.fault is not Fault.UNSUPPORTED:
            fault = Fault.CUT if error.fault is Fault.MISSING else error.fault
            raise ToolError(fault, f"it was sent, but: {error}") from error
        found = Found()
    if item.transfer.read_back and not sums.keys() & found.checksums.keys():
        found = _read_back(tool, item, sums, watch, token)
    wrong = [kind for kind, value in found.checksums.items() if sums.get(kind, value) != value]
    if found.size not in (None, size):
        detail = f"{url} has {found.size} bytes instead of {size}"
    elif wrong:
        detail = f"{url}: {wrong[0]} {found.checksums[wrong[0]]} instead of {sums[wrong[0]]}"
    else:
        return
    detail += _take_away(tool, url)
    if wrong:
        raise _Mismatch(wrong[0], detail, Fault.DAMAGED)
    raise ToolError(Fault.DAMAGED, detail)


def _take_away(tool: CopyTool, url: str) -> str:
    """Remove what is not the file from a storage; words for what kept it there, if anything did."""
    try:
        tool.remove(url)
    except ToolError as error:
        return f", and it could not be removed: {error}"
    return ""


def _read_back(tool: CopyTool, item: Try, sums: dict[str, str], watch: Watch, token: str) -> Found:
    """What comes back when the storage is asked for the file that it just got."""
    import tempfile

    here = os.path.join(tempfile.gettempdir(), f".pilot-back-{token}-{id(item):x}")
    back = Move(source=item.target.url, target=here, lfn=item.transfer.lfn, kinds=item.kinds)
    try:
        (moved,) = tool.move((back,), watch)
        if moved.fault:
            fault = Fault.NO_ROOM if moved.fault is Fault.NO_SPACE else moved.fault
            raise ToolError(fault, f"it was sent, but cannot be read back: {moved.detail}")
        return Found(moved.size, moved.checksums or checksum_of(here, sums).values())
    finally:
        discard_quietly(here)


class _Mismatch(ToolError):
    """A checksum that is not the expected one; its kind decides on the error number."""

    def __init__(self, kind: str, detail: str, fault: Fault = Fault.CORRUPT) -> None:
        super().__init__(fault, detail)
        self.kind = kind


def kind_of(error: ToolError) -> str:
    """The checksum kind that did not fit, if that is what went wrong."""
    return error.kind if isinstance(error, _Mismatch) else ""
