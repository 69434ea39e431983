"""What a payload has on disk: its work directory walked in slices, its logs and outputs, the space left."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from pilot.core.limits import DiskLook
from pilot.engine.monitor_tree import Budget

#: Written by the pilot itself: no sign of life of the payload.
_PILOTS_OWN = re.compile(r"memory_monitor_|pilot\.log|pilot_heartbeat|heartbeat\.json|job\.json|stacks\.txt")
_LOGS = ("payload.stdout", "payload.stderr")
_CORE = re.compile(r"core(\.\S+)?")
_ELF_CORE = 4


class Disk:
    """The disk use of one payload. The disk is asked nothing before the first `look`, which tells its file system too.

    `look` costs a few system calls; a walk of the directory goes on in small slices. A walk that took long is repeated
    rarely: walking takes about one part in 500 of one core, and all walks of a pilot together no more than their
    common `budget`.
    """

    def __init__(self, workdir: Path, outputs: Sequence[str] = (), budget: Budget | None = None) -> None:
        self.workdir = workdir
        self.size = 0
        self.core_dumps: tuple[str, ...] = ()
        self.changed_at = time.time()
        self.file_system = 0
        self._outputs = tuple(outputs)
        self._budget = budget or Budget(share=1.0)
        self._walk: Iterator[None] | None = None
        self._next_walk = 0.0
        self._spent_s = 0.0
        self._free: list[tuple[float, int]] = []

    def look(self, now: float, slice_s: float = 0.005) -> DiskLook:
        """Sizes now (bytes); those of the directory as of the last complete walk. `now` is monotonic s."""
        self.file_system = self.file_system or _file_system(self.workdir)
        self._step(now, slice_s)
        free = self._free_now(now)
        return DiskLook(
            workdir=self.size,
            largest_output=self._largest(self._outputs),
            largest_log=self._largest(_LOGS),
            free=free,
            fill_rate=self._fill_rate(),
        )

    def finish(self, slice_s: float = 0.5) -> None:
        """One more walk after the payload's end, as far as it goes in the time given."""
        self._walk = None
        self._next_walk = 0.0
        self._budget = Budget(share=1.0)
        self._step(time.monotonic(), slice_s)

    def _step(self, now: float, slice_s: float) -> None:
        """Go on with the walk, or begin one when its time has come."""
        if self._walk is None:
            if now < self._next_walk or not self._budget.open:
                return
            self._walk = self._survey()
            self._spent_s = 0.0
        begun = time.monotonic()
        done = all(time.monotonic() - begun <= slice_s for _ in self._walk)
        took_s = time.monotonic() - begun
        self._spent_s += took_s
        self._budget.spend(took_s)
        if done:
            self._walk = None
            self._next_walk = now + min(300.0, max(2.0, 500 * self._spent_s))

    def _survey(self) -> Iterator[None]:
        """Walk the directory, giving way after every file; a file with several names counts once."""
        size, newest, cores = 0, 0.0, []
        linked: set[tuple[int, int]] = set()
        waiting = [str(self.workdir)]
        while waiting:
            try:
                entries = os.scandir(waiting.pop())
            except OSError:
                continue
            with entries:
                for entry in entries:
                    yield
                    try:
                        facts = entry.stat(follow_symlinks=False)
                        if entry.is_dir(follow_symlinks=False):
                            waiting.append(entry.path)
                    except OSError:
                        continue
                    if facts.st_nlink == 1 or (facts.st_dev, facts.st_ino) not in linked:
                        size += facts.st_blocks * 512 or facts.st_size
                        linked.add((facts.st_dev, facts.st_ino))
                    if not _PILOTS_OWN.match(entry.name):
                        newest = max(newest, facts.st_mtime)
                    if _CORE.fullmatch(entry.name) and _is_core(entry.path):
                        cores.append(os.path.relpath(entry.path, self.workdir))
        self.size = size
        self.core_dumps = tuple(sorted(cores))
        self.changed_at = max(self.changed_at, min(newest, time.time()))

    def _largest(self, names: Sequence[str]) -> tuple[str, int]:
        found = ("", 0)
        for name in names:
            try:
                size = os.stat(self.workdir / name).st_size
            except OSError:
                continue
            found = max(found, (name, size), key=lambda pair: pair[1])
        return found

    def _free_now(self, now: float) -> int | None:
        try:
            facts = os.statvfs(self.workdir)
        except OSError:
            return None
        free = facts.f_bavail * facts.f_frsize
        self._free = [(at, value) for at, value in self._free if now - at <= 60] + [(now, free)]
        return free

    def _fill_rate(self) -> float:
        """How fast the free space shrank over the last minute, in bytes per s; 0 if it did not."""
        (first, before), (last, after) = (
            self._free[0] if self._free else (0.0, 0),
            self._free[-1] if self._free else (0.0, 0),
        )
        return max(0.0, (before - after) / (last - first)) if last > first else 0.0


def _file_system(path: Path) -> int:
    try:
        return os.stat(path).st_dev
    except OSError:
        return 0


def _is_core(path: str) -> bool:
    """Whether a file is a memory image by its ELF header, not by its name alone."""
    try:
        with open(path, "rb") as file:
            head = file.read(18)
    except OSError:
        return False
    order = "little" if head[5:6] == b"\1" else "big"
    return head[:4] == b"\x7fELF" and int.from_bytes(head[16:18], order) == _ELF_CORE  # type: ignore[arg-type]


def shorten(log: Path, keep: int) -> int:
    """Keep the first and the last `keep` bytes of a log, with a line between them that tells what is missing.

    Bytes are kept as they are, whatever the encoding; cuts are made at line ends where lines are not longer than
    64 KiB. Returns the number of bytes dropped; a log that is short enough, or missing, stays as it is.
    """
    try:
        size = log.stat().st_size
        if size <= 2 * keep + 65536:
            return 0
        with open(log, "r+b") as file:
            head = _through_line(file.read(keep))
            file.seek(size - keep)
            tail = file.read(keep)
            tail = tail[tail.find(b"\n", 0, 65536) + 1 :]
            dropped = size - len(head) - len(tail)
            file.seek(len(head))
            file.write(b"\n[... %d bytes left out here ...]\n" % dropped + tail)
            file.truncate()
    except OSError:
        return 0
    return dropped


def _through_line(head: bytes) -> bytes:
    end = head.rfind(b"\n", max(0, len(head) - 65536))
    return head[: end + 1] if end >= 0 else head
