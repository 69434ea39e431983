"""What the kernel tells of processes under `/proc`. The root is an argument, so that recorded trees can be replayed.

Every reader returns None (or nothing) for a process that has gone or may not be looked at; none raises for that.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path

import msgspec

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PAGE_KB = os.sysconf("SC_PAGE_SIZE") // 1024
_GONE = (FileNotFoundError, ProcessLookupError, PermissionError, NotADirectoryError)


class Stat(msgspec.Struct, frozen=True, gc=False):
    """`/proc/PID/stat`: CPU in clock ticks, memory in kB; `child_*` is of ended children that were waited for.

    `start_ticks` since boot tells one process from a later one with the same number.
    """

    pid: int
    state: str
    parent: int
    group: int
    session: int
    user_ticks: int
    system_ticks: int
    child_user_ticks: int
    child_system_ticks: int
    threads: int
    start_ticks: int
    vmem_kb: int
    rss_kb: int

    @property
    def alive(self) -> bool:
        """Whether the process can still do something: neither a zombie nor dead."""
        return self.state not in ("Z", "X")


class Io(msgspec.Struct, frozen=True, gc=False):
    """`/proc/PID/io` in bytes, the share of ended children that were waited for included."""

    rchar: int = 0
    wchar: int = 0
    read_bytes: int = 0
    write_bytes: int = 0

    def __add__(self, other: Io) -> Io:
        return Io(
            self.rchar + other.rchar,
            self.wchar + other.wchar,
            self.read_bytes + other.read_bytes,
            self.write_bytes + other.write_bytes,
        )


class Pages(msgspec.Struct, frozen=True, gc=False):
    """`/proc/PID/smaps_rollup` in kB: the exact memory of a process, at the price of a page walk in the kernel."""

    rss_kb: int
    pss_kb: int
    swap_kb: int


def parse_stat(text: bytes) -> Stat:
    """Take the line of `/proc/PID/stat` apart; the command name may hold blanks and parentheses."""
    head, _, tail = text.rpartition(b")")
    f = tail.split()
    return Stat(
        int(head[: head.index(b" ")]),
        chr(f[0][0]),
        int(f[1]),
        int(f[2]),
        int(f[3]),
        int(f[11]),
        int(f[12]),
        int(f[13]),
        int(f[14]),
        int(f[17]),
        int(f[19]),
        int(f[20]) >> 10,
        int(f[21]) * PAGE_KB,
    )


def parse_io(text: bytes) -> Io:
    """Take `/proc/PID/io` apart."""
    f = text.split()
    return Io(int(f[1]), int(f[3]), int(f[9]), int(f[11]))


def parse_pages(text: bytes) -> Pages:
    """Take `/proc/PID/smaps_rollup` apart."""
    found = {b"Rss:": 0, b"Pss:": 0, b"Swap:": 0}
    for line in text.splitlines()[1:]:
        word, _, rest = line.partition(b" ")
        if word in found:
            found[word] = int(rest.split()[0])
    return Pages(found[b"Rss:"], found[b"Pss:"], found[b"Swap:"])


class Proc:
    """The readers over one root. Holds no open files and may be used by several threads.

    Kernels built without lists of children (CONFIG_PROC_CHILDREN) are served by a look at all processes of the
    machine, which is used again for `reuse_s`. `lists` says which kind it is, instead of finding out.
    """

    def __init__(self, root: Path = Path("/proc"), *, reuse_s: float = 0.0, lists: bool | None = None) -> None:
        self.root = str(root)
        me = f"{root}/{os.getpid()}"
        if lists is None:
            lists = os.path.exists(f"{me}/task/{os.getpid()}/children") or not os.path.exists(me)
        self._lists = lists
        self._reuse_s = reuse_s
        self._kin: tuple[float, dict[int, list[int]]] = (-1e9, {})

    @property
    def lists_children(self) -> bool:
        """Whether the kernel has lists of children, by thread."""
        return self._lists

    def read(self, name: str) -> bytes | None:
        """All of a small file below the root, None when it (or its process) is not there."""
        try:
            fd = os.open(f"{self.root}/{name}", os.O_RDONLY | os.O_CLOEXEC)
        except _GONE:
            return None
        try:
            parts = []
            while part := os.read(fd, 65536):
                parts.append(part)
                if len(part) < 4000:
                    break
            return b"".join(parts)
        except _GONE:
            return None
        finally:
            os.close(fd)

    def stat(self, pid: int) -> Stat | None:
        """The process's state, kin, CPU and resident memory."""
        text = self.read(f"{pid}/stat")
        return parse_stat(text) if text else None

    def ran_s(self, pid: int) -> float:
        """CPU time of the first thread, finer than clock ticks; 0 if not told. A zombie still tells it."""
        words = (self.read(f"{pid}/schedstat") or b"0").split()
        return int(words[0]) / 1e9

    def peak_kb(self, pid: int) -> int:
        """The largest resident memory that the process had since it became the program that it is; 0 if not told."""
        _, found, rest = (self.read(f"{pid}/status") or b"").partition(b"VmHWM:")
        return int(rest.split(None, 1)[0]) if found else 0

    def io(self, pid: int) -> Io | None:
        """What the process has read and written."""
        text = self.read(f"{pid}/io")
        return parse_io(text) if text else None

    def pages(self, pid: int) -> Pages | None:
        """The exact memory; costs about 10 ms per GB. None also for a process without memory (a zombie)."""
        text = self.read(f"{pid}/smaps_rollup")
        return parse_pages(text) if text else None

    def swap_kb(self, pid: int) -> int:
        """Memory of the process that lies on the swap device."""
        text = self.read(f"{pid}/status") or b""
        _, found, rest = text.partition(b"VmSwap:")
        return int(rest.split(None, 1)[0]) if found else 0

    def swap_total_kb(self) -> int:
        """The size of the machine's swap: nobody can swap where it is 0."""
        _, found, rest = (self.read("meminfo") or b"").partition(b"SwapTotal:")
        return int(rest.split(None, 1)[0]) if found else 0

    def open_files(self, pid: int) -> int:
        """The number of open file descriptors."""
        try:
            fds = os.stat(f"{self.root}/{pid}/fd").st_size
            return fds or len(os.listdir(f"{self.root}/{pid}/fd"))
        except _GONE:
            return 0

    def has_variable(self, pid: int, name: str, value: str) -> bool:
        """Whether the process was started with this environment variable."""
        text = self.read(f"{pid}/environ")
        return text is not None and f"\0{name}={value}\0".encode() in b"\0" + text

    def boot_id(self) -> str:
        """What tells this run of the kernel from every other."""
        return (self.read("sys/kernel/random/boot_id") or b"").decode().strip()

    def pids(self) -> list[int]:
        """All processes of the machine, in this PID namespace."""
        return [int(name) for name in os.listdir(self.root) if name.isdecimal()]

    def children(self, pid: int, threads: int = 0) -> list[int]:
        """The children of all threads of a process; `threads` (from `Stat`) saves a look when it is 1."""
        if not self._lists:
            return self._by_parent().get(pid, [])
        if threads == 1:
            tids = [str(pid)]
        else:
            try:
                tids = os.listdir(f"{self.root}/{pid}/task")
            except _GONE:
                return []
        found: list[int] = []
        for tid in tids:
            text = self.read(f"{pid}/task/{tid}/children")
            if text:
                found.extend(map(int, text.split()))
        return found

    def _by_parent(self) -> dict[int, list[int]]:
        """All processes of the machine by their parents."""
        now = time.monotonic()
        at, kin = self._kin
        if now - at >= self._reuse_s:
            kin = {}
            for stat in self.everyone().values():
                kin.setdefault(stat.parent, []).append(stat.pid)
            self._kin = (now, kin)
        return kin

    def tree(self, roots: Iterable[int]) -> dict[int, Stat]:
        """The roots that live and all their descendants, parents before children, zombies included."""
        found: dict[int, Stat] = {}
        waiting = list(roots)
        kin = None if self._lists else self._by_parent()
        for pid in waiting:
            stat = None if pid in found else self.stat(pid)
            if stat is not None:
                found[pid] = stat
                if stat.alive:
                    waiting += self.children(pid, stat.threads) if kin is None else kin.get(pid, [])
        return found

    def everyone(self) -> dict[int, Stat]:
        """All processes of the machine: a look at some hundred files, for rare occasions."""
        stats = (self.stat(pid) for pid in self.pids())
        return {stat.pid: stat for stat in stats if stat is not None}
