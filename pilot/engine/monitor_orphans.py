"""Processes that lost their parent and came to the pilot: whose they are, and what they used up when they ended."""

from __future__ import annotations

import os
import threading
import time

from pilot.engine.monitor_watch import Watch
from pilot.lib.kin import TOKEN
from pilot.lib.process import Spent, Stray, reap_strays
from pilot.lib.procfs import TICKS_PER_S, Io, Proc, Stat

#: An ended session leader is collected only after this time: it might be a payload that has just been started.
_SURELY_NOBODYS_S = 10.0


class Orphans:
    """The children of the pilot that it did not start. May be used by several threads."""

    def __init__(self, proc: Proc) -> None:
        self._proc = proc
        self._keys: dict[tuple[int, int], str] = {}
        self._dead_since: dict[tuple[int, int], float] = {}
        self._sorting = threading.Lock()

    def find(self, watches: list[Watch]) -> dict[str, list[int]]:
        """Collect ended orphans, and tell by key whose the living ones are that hang on the pilot."""
        with self._sorting:
            first = {watch.family.child.pid for watch in watches}
            found: dict[str, list[int]] = {}
            known: dict[tuple[int, int], str] = {}
            dead: list[Stat] = []
            for pid in self._proc.children(os.getpid()):
                stat = None if pid in first else self._proc.stat(pid)
                if stat is None:
                    continue
                if not stat.alive:
                    dead.append(stat)
                    continue
                mark = (pid, stat.start_ticks)
                key = known[mark] = self._keys[mark] if mark in self._keys else self._owner(stat, watches)
                if key:
                    found.setdefault(key, []).append(pid)
            self._keys = known
            self._reap(watches, self._abandoned(dead))
            return found

    def leaders_left(self, watch: Watch) -> None:
        """Count what ended orphans that led a session have used, which nobody may collect yet; for a payload that has
        ended and is the only one."""
        with self._sorting:
            for pid, ticks in self._dead_since:
                stat = self._proc.stat(pid)
                if stat is not None and stat.start_ticks == ticks >= watch.family.child.start_ticks:
                    with watch.lock:
                        watch.family.collected(Stray(pid, ticks, stat.session, self._spent(stat)))

    def _spent(self, stat: Stat) -> Spent:
        """What a zombie tells of its use; ticks are too coarse for short lives."""
        user_s = (stat.user_ticks + stat.child_user_ticks) / TICKS_PER_S
        system_s = (stat.system_ticks + stat.child_system_ticks) / TICKS_PER_S
        finer_s = max(0.0, self._proc.ran_s(stat.pid) - user_s - system_s)
        return Spent(user_s + finer_s, system_s, io=self._proc.io(stat.pid) or Io())

    def _abandoned(self, dead: list[Stat]) -> dict[int, int]:
        """Ended session leaders that nobody here waits for: number and birth.

        What another thread of ours started and waits for is in that thread's list of children; orphans come to the main
        thread, which starts payloads only, and collects them at once.
        """
        listed = self._proc.children(os.getpid(), threads=1) if dead and self._proc.lists_children else []
        now = time.monotonic()
        leaders = {(s.pid, s.start_ticks) for s in dead if s.session == s.pid and s.pid in listed}
        self._dead_since = {mark: self._dead_since.get(mark, now) for mark in leaders}
        return dict(mark for mark, since in self._dead_since.items() if now - since > _SURELY_NOBODYS_S)

    def _owner(self, stat: Stat, watches: list[Watch]) -> str:
        """Whose a child of the pilot is: by its session, by what was seen, by its token; empty if nobody's."""
        for watch in watches:
            if watch.family.owns(stat):
                return watch.key
        for watch in watches:
            if self._proc.has_variable(stat.pid, TOKEN, watch.family.child.token):
                return watch.key
        return ""

    def _reap(self, watches: list[Watch], abandoned: dict[int, int]) -> None:
        sessions = {w.family.child.sid: w for w in watches}
        seen = {pid: (m.stat.start_ticks, w) for w in watches for pid, m in list(w.family.members.items())}
        births = abandoned | {pid: ticks for pid, (ticks, _) in seen.items()}
        for stray in reap_strays({sid: w.family.child.start_ticks for sid, w in sessions.items()}, births, self._proc):
            watch = sessions.get(stray.session) or (seen[stray.pid][1] if stray.pid in seen else None)
            if watch is None and len(watches) == 1:  # it came and went between two looks: whose else could it be
                watch = watches[0]
            if watch is not None and stray.start_ticks >= watch.family.child.start_ticks:
                with watch.lock:
                    watch.family.collected(stray)
