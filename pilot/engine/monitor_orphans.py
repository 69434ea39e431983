"""Processes that lost their parent and came to the pilot: whose they are, and what they used up when they ended."""

from __future__ import annotations

import os
import threading

from pilot.engine.monitor_watch import Watch
from pilot.lib.kin import TOKEN
from pilot.lib.process import reap_strays
from pilot.lib.procfs import Proc, Stat


class Orphans:
    """The children of the pilot that it did not start. May be used by several threads."""

    def __init__(self, proc: Proc) -> None:
        self._proc = proc
        self._keys: dict[tuple[int, int], str] = {}
        self._sorting = threading.Lock()

    def find(self, watches: list[Watch]) -> dict[str, list[int]]:
        """Collect ended orphans, and tell by key whose the living ones are that hang on the pilot."""
        with self._sorting:
            first = {watch.family.child.pid for watch in watches}
            found: dict[str, list[int]] = {}
            known: dict[tuple[int, int], str] = {}
            dead = False
            for pid in self._proc.children(os.getpid()):
                stat = None if pid in first else self._proc.stat(pid)
                if stat is None:
                    continue
                if not stat.alive:
                    dead = True
                    continue
                mark = (pid, stat.start_ticks)
                key = known[mark] = self._keys[mark] if mark in self._keys else self._owner(stat, watches)
                if key:
                    found.setdefault(key, []).append(pid)
            self._keys = known
            if dead:
                self._reap(watches)
            return found

    def _owner(self, stat: Stat, watches: list[Watch]) -> str:
        """Whose a child of the pilot is: by its session, by what was seen, by its token; empty if nobody's."""
        for watch in watches:
            if watch.family.owns(stat):
                return watch.key
        for watch in watches:
            if self._proc.has_variable(stat.pid, TOKEN, watch.family.child.token):
                return watch.key
        return ""

    def _reap(self, watches: list[Watch]) -> None:
        sessions = {w.family.child.sid: w for w in watches}
        seen = {pid: (m.stat.start_ticks, w) for w in watches for pid, m in list(w.family.members.items())}
        births = {pid: ticks for pid, (ticks, _) in seen.items()}
        for stray in reap_strays({sid: w.family.child.start_ticks for sid, w in sessions.items()}, births, self._proc):
            watch = sessions.get(stray.session) or (seen[stray.pid][1] if stray.pid in seen else None)
            if watch is not None:
                with watch.lock:
                    watch.family.collected(stray)
