"""One payload's processes and what they use up, from `/proc`: a `Family` takes one look after another.

CPU and I/O are counted since the start and must not lose what has ended. A process that was waited for is in its
parent's figures; one that lost its parent comes to the pilot, which collects it and adds what it used; of one that
vanished otherwise (its parent ignores SIGCHLD) the last seen figures are kept.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from pilot.core.usage import Sample
from pilot.lib.process import Child, Stray
from pilot.lib.procfs import TICKS_PER_S, Io, Proc, Stat

_PAGES_STALE_S = 30.0
_PAGES_MOVED = 0.01


class Budget:
    """CPU time that may be spent on page walks: earned with time, spent by walking, saved up to a burst."""

    def __init__(self, share: float = 0.0025, burst_s: float = 0.1) -> None:
        self._share = share
        self._burst_s = burst_s
        self._left_s = burst_s
        self.spent_s = 0.0
        self._at = time.monotonic()

    @property
    def open(self) -> bool:
        """Whether another walk may begin; one that costs more than is left is paid off afterwards."""
        now = time.monotonic()
        self._left_s = min(self._burst_s, self._left_s + (now - self._at) * self._share)
        self._at = now
        return self._left_s > 0

    def spend(self, seconds: float) -> None:
        """Note what a walk has cost."""
        self._left_s -= seconds
        self.spent_s += seconds


class Member:
    """One process as it was last seen; `pss_kb` as of the last page walk, -1 before the first one."""

    __slots__ = ("doubtful", "io", "pss_kb", "rss_walked_kb", "stat", "walked_at")

    def __init__(self, stat: Stat) -> None:
        self.stat = stat
        self.io = Io()
        self.pss_kb = -1
        self.doubtful = True
        self.rss_walked_kb = 0
        self.walked_at = 0.0

    @property
    def own_ticks(self) -> tuple[int, int]:
        """User and system ticks of the process and of all children it waited for."""
        s = self.stat
        return s.user_ticks + s.child_user_ticks, s.system_ticks + s.child_system_ticks

    def walk_due(self, now: float) -> bool:
        """Whether the exact memory may have changed since the last page walk, by itself or through its kin."""
        moved_kb = abs(self.stat.rss_kb - self.rss_walked_kb)
        return (
            self.doubtful or moved_kb > 256 + _PAGES_MOVED * self.rss_walked_kb or now - self.walked_at > _PAGES_STALE_S
        )


class Family:
    """All processes of one payload over time. Used by one thread at a time.

    `first_peak_kb` is the largest resident memory that its first process had until it was last seen alive.
    """

    def __init__(self, child: Child, proc: Proc, budget: Budget, files_every_s: float = 10.0) -> None:
        self.child = child
        self.members: dict[int, Member] = {}
        self.first_peak_kb = 0
        self._roots: dict[int, int] = {}
        self._proc = proc
        self._budget = budget
        self._started = time.monotonic()
        self._lost_ticks = [0, 0]
        self._gone_s = [0.0, 0.0]
        self._gone_io = Io()
        self._top_io = Io()
        self._swap = proc.swap_total_kb() > 0
        self._files_every_s = files_every_s
        self._files_at = -100.0
        self._open_files = 0
        self._exact_after = 0.0

    def owns(self, stat: Stat) -> bool:
        """Whether an orphan that came to the pilot is known to be of this payload."""
        known = self.members.get(stat.pid)
        return stat.session == self.child.sid or (known is not None and known.stat.start_ticks == stat.start_ticks)

    def collected(self, stray: Stray) -> None:
        """Count what an orphan used up that the pilot has just collected."""
        self.members.pop(stray.pid, None)
        self._gone_s[0] += stray.spent.user_s
        self._gone_s[1] += stray.spent.system_s
        self._gone_io += stray.spent.io

    def look(self, orphans: Iterable[int]) -> Sample:
        """Take a sample of all processes; `orphans` are those of this payload that hang on the pilot."""
        tree = self._proc.tree([self.child.pid, *orphans, *self._outside()])
        first = tree.get(self.child.pid)
        if first is not None and (self.child.exit is not None or first.start_ticks != self.child.start_ticks):
            del tree[self.child.pid]
        elif first is not None:
            self.first_peak_kb = max(self.first_peak_kb, self._proc.peak_kb(self.child.pid))
        self._bury(tree)
        for pid, stat in tree.items():
            member = self.members.get(pid)
            if member is None:
                member = self.members[pid] = Member(stat)
                self._doubt_kin(stat)
            member.stat = stat
            member.io = self._proc.io(pid) or member.io
        self._walk(exact=False)
        return self._sample()

    def include(self, pid: int) -> bool:
        """Count a process that is no descendant of the payload's first one, and its own; False if it is gone."""
        stat = self._proc.stat(pid)
        if stat is not None:
            self._roots[pid] = stat.start_ticks
        return stat is not None

    def _outside(self) -> list[int]:
        """The included processes that still are who they were."""
        stats = [(pid, ticks, self._proc.stat(pid)) for pid, ticks in self._roots.items()]
        return [pid for pid, ticks, stat in stats if stat is not None and stat.start_ticks == ticks]

    def exact(self, *, doubtful: bool = False) -> Sample | None:
        """The last look once more, with the exact memory of every process, or of every `doubtful` one; None while that
        would cost too much.

        After walks that took a time t, the next ones are made 100 t later: at most one part in 100 of a core.
        """
        if time.monotonic() < self._exact_after:
            return None
        begun = time.thread_time()
        self._walk(exact=True, doubtful=doubtful)
        self._exact_after = time.monotonic() + 100 * (time.thread_time() - begun)
        return self._sample()

    @property
    def states(self) -> list[str]:
        """The kernel's state letter of every living process, as of the last look."""
        return [m.stat.state for m in self.members.values() if m.stat.alive]

    def _doubt_kin(self, stat: Stat) -> None:
        """A process that comes or goes changes what its parent's and siblings' shared pages count."""
        for member in self.members.values():
            if member.stat.parent == stat.parent or member.stat.pid == stat.parent or member.stat.parent == stat.pid:
                member.doubtful = True

    def _bury(self, tree: dict[int, Stat]) -> None:
        """Keep the CPU time of vanished processes that no ancestor has taken over."""
        vanished = {
            pid: member
            for pid, member in self.members.items()
            if (stat := tree.get(pid)) is None or stat.start_ticks != member.stat.start_ticks
        }
        owed: dict[int, list[int]] = {}
        for pid, member in vanished.items():
            if pid != self.child.pid:
                heir = self._heir(member.stat.parent, vanished)
                debt = owed.setdefault(heir, [0, 0])
                debt[0] += member.own_ticks[0]
                debt[1] += member.own_ticks[1]
        for heir, debt in owed.items():
            got = self._inherited(heir, tree)
            self._lost_ticks[0] += max(0, debt[0] - got[0])
            self._lost_ticks[1] += max(0, debt[1] - got[1])
        for pid, member in vanished.items():
            del self.members[pid]
            if member.stat.alive:
                self._doubt_kin(member.stat)

    def _heir(self, parent: int, vanished: dict[int, Member]) -> int:
        """The nearest ancestor that still lives (or the payload's first process): it would have waited."""
        while parent in vanished and parent != self.child.pid:
            parent = vanished[parent].stat.parent
        return parent

    def _inherited(self, heir: int, tree: dict[int, Stat]) -> tuple[int, int]:
        """What the heir's count of ended children has grown by since the last look.

        Of the payload's first process, once it was collected, only the sum with its own time is known.
        """
        now, before = tree.get(heir), self.members.get(heir)
        if now is None and heir == self.child.pid:
            user, system = before.own_ticks if before else (0, 0)
            spent = self.child.spent
            return int(spent.user_s * TICKS_PER_S) - user, int(spent.system_s * TICKS_PER_S) - system
        if now is None or before is None:
            return 0, 0
        return (
            now.child_user_ticks - before.stat.child_user_ticks,
            now.child_system_ticks - before.stat.child_system_ticks,
        )

    def _walk(self, exact: bool, doubtful: bool = False) -> None:
        """Walk the pages of the processes whose exact memory is least known, as far as the budget goes."""
        now = time.monotonic()
        living = [m for m in self.members.values() if m.stat.alive]
        due = living if exact and not doubtful else [m for m in living if m.walk_due(now)]
        due.sort(key=lambda m: (not m.doubtful, -abs(m.stat.rss_kb - m.rss_walked_kb), m.walked_at))
        for member in due:
            if not exact and not self._budget.open:
                break
            begun = time.thread_time()
            pages = self._proc.pages(member.stat.pid)
            self._budget.spend(time.thread_time() - begun)
            if pages is not None:
                member.pss_kb = pages.pss_kb
                member.rss_walked_kb = member.stat.rss_kb
            member.doubtful = False
            member.walked_at = now

    def _pss_kb(self, living: list[Member]) -> int:
        """The PSS of all: the last walk's, moved by what the RSS has moved since; new ones share as the others do."""
        walked = [m for m in living if m.pss_kb >= 0]
        known_kb = sum(max(0, m.pss_kb + m.stat.rss_kb - m.rss_walked_kb) for m in walked)
        rss_kb = sum(m.stat.rss_kb for m in walked)
        fresh_kb = sum(m.stat.rss_kb for m in living if m.pss_kb < 0)
        return known_kb + (fresh_kb * min(known_kb, rss_kb) // rss_kb if rss_kb else fresh_kb)

    def _count_open_files(self, living: list[Member]) -> int:
        """Open files of all, not counted anew at every look."""
        now = time.monotonic()
        if now - self._files_at >= self._files_every_s:
            self._files_at = now
            self._open_files = sum(self._proc.open_files(m.stat.pid) for m in living)
        return self._open_files

    def _sample(self) -> Sample:
        living = [m for m in self.members.values() if m.stat.alive]
        ticks = [m.own_ticks for m in self.members.values()]
        spent = self.child.spent
        io = self._gone_io + spent.io
        for member in self.members.values():
            io += member.io
        self._top_io = Io(
            max(io.rchar, self._top_io.rchar),
            max(io.wchar, self._top_io.wchar),
            max(io.read_bytes, self._top_io.read_bytes),
            max(io.write_bytes, self._top_io.write_bytes),
        )
        swap_kb = sum(self._proc.swap_kb(m.stat.pid) for m in living) if self._swap else 0
        return Sample(
            at=time.time(),
            wall_s=time.monotonic() - self._started,
            vmem_kb=sum(m.stat.vmem_kb for m in living),
            pss_kb=self._pss_kb(living),
            rss_kb=sum(m.stat.rss_kb for m in living),
            swap_kb=swap_kb,
            rchar=self._top_io.rchar,
            wchar=self._top_io.wchar,
            read_bytes=self._top_io.read_bytes,
            write_bytes=self._top_io.write_bytes,
            user_s=spent.user_s + self._gone_s[0] + (self._lost_ticks[0] + sum(t[0] for t in ticks)) / TICKS_PER_S,
            system_s=spent.system_s + self._gone_s[1] + (self._lost_ticks[1] + sum(t[1] for t in ticks)) / TICKS_PER_S,
            processes=len(living),
            threads=sum(m.stat.threads for m in living),
            open_files=self._count_open_files(living),
            pss_settled=not any(m.doubtful for m in living),
        )
