"""One thread looks at all payloads of the pilot in turn: samples, files in prmon's form, limits.

The thread named `monitor` never waits for a payload, never signals one and never touches the PilotDB: what it finds
it posts to the engine's inbox.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from pilot.core import limits as judge
from pilot.core.errors import Failure
from pilot.core.limits import Limits
from pilot.core.tally import Tally
from pilot.core.usage import Sample, Usage
from pilot.engine.monitor_files import Files, hardware
from pilot.engine.monitor_tree import Budget, Family
from pilot.lib.kin import TOKEN
from pilot.lib.process import Child, reap_strays
from pilot.lib.procfs import Proc, Stat

#: Looks soon after the start, so that a payload of a second has a time series too.
_FIRST_LOOKS_S = (0.0, 0.1, 0.3, 0.6)


class Sampled(msgspec.Struct, frozen=True):
    """A sample worth keeping."""

    key: str
    sample: Sample


class LimitBroken(msgspec.Struct, frozen=True):
    """A payload used up more than it may; posted once per payload."""

    key: str
    failure: Failure


class _Watch:
    """What the monitor keeps of one payload. The lock is held for one look or for the end, not longer."""

    def __init__(self, key: str, family: Family, files: Files, limits: Limits) -> None:
        self.key = key
        self.family = family
        self.files = files
        self.limits = limits
        self.tally = Tally()
        self.lock = threading.Lock()
        self.began = time.monotonic()
        self.looks = 0
        self.next_look = self.began
        self.next_record = self.began
        self.over_memory_since: float | None = None
        self.told = False


class Monitor:
    """The sampler. `post` must take messages from any thread and return at once.

    `interval_s` is the time between two looks, `record_s` that between two lines of the files and two `Sampled`
    messages. All methods may be called from any thread.
    """

    def __init__(
        self,
        post: Callable[[object], None],
        *,
        interval_s: float = 1.0,
        record_s: float = 10.0,
        proc_root: Path = Path("/proc"),
    ) -> None:
        self._post = post
        self._interval_s = interval_s
        self._record_s = record_s
        self._proc = Proc(proc_root)
        self._hardware = hardware(self._proc)
        self._budget = Budget()
        self._watches: dict[str, _Watch] = {}
        self._orphan_keys: dict[tuple[int, int], str] = {}
        self._sorting = threading.Lock()
        self._wake = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="monitor", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def close(self) -> None:
        """End the thread; payloads still watched are no longer looked at."""
        with self._wake:
            self._closed = True
            self._wake.notify_all()
        if self._thread.is_alive():
            self._thread.join()

    def watch(self, key: str, child: Child, workdir: Path, limits: Limits) -> None:
        """Look at this payload from now on; the two files are written to `workdir`."""
        family = Family(child, self._proc, self._budget)
        with self._wake:
            self._watches[key] = _Watch(key, family, Files(workdir, self._hardware), limits)
            self._wake.notify_all()

    def unwatch(self, key: str) -> Usage:
        """Stop looking, write the files' last lines and tell the summary. Call it before the session's orphans end
        and after (or before) `Child.poll`: both find the exact CPU time. An unknown key has used nothing."""
        watch = self._watches.get(key)
        if watch is None:
            return Usage()
        orphans = self._orphans()
        with watch.lock:
            with self._wake:
                self._watches.pop(key, None)
            self._look(watch, orphans.get(key, []), last=True)
            usage = _completed(watch)
            watch.files.sum_up(usage)
        return usage

    def latest(self, key: str) -> Sample | None:
        """The newest sample."""
        watch = self._watches.get(key)
        return watch.tally.last if watch else None

    def _run(self) -> None:
        while True:
            with self._wake:
                if self._closed:
                    return
                now = time.monotonic()
                due = [w for w in self._watches.values() if w.next_look <= now]
                if not due:
                    soonest = min((w.next_look for w in self._watches.values()), default=None)
                    self._wake.wait(None if soonest is None else max(0.0, soonest - now))
                    continue
            orphans = self._orphans()
            for watch in due:
                with watch.lock:
                    if self._watches.get(watch.key) is watch:
                        self._look(watch, orphans.get(watch.key, []))

    def _orphans(self) -> dict[str, list[int]]:
        """Collect ended orphans, and find out whose the living ones are that hang on the pilot."""
        with self._sorting:
            watches = list(self._watches.values())
            first = {watch.family.child.pid for watch in watches}
            found: dict[str, list[int]] = {}
            known: dict[tuple[int, int], str] = {}
            for pid in self._proc.children(os.getpid()):
                stat = None if pid in first else self._proc.stat(pid)
                if stat is None:
                    continue
                if not stat.alive:
                    self._reap(watches)
                    continue
                mark = (pid, stat.start_ticks)
                key = known[mark] = self._orphan_keys[mark] if mark in self._orphan_keys else self._owner(stat, watches)
                if key:
                    found.setdefault(key, []).append(pid)
            self._orphan_keys = known
            return found

    def _owner(self, stat: Stat, watches: list[_Watch]) -> str:
        """Whose a child of the pilot is: by its session, by what was seen, by its token; empty if nobody's."""
        for watch in watches:
            if watch.family.owns(stat):
                return watch.key
        for watch in watches:
            if self._proc.has_variable(stat.pid, TOKEN, watch.family.child.token):
                return watch.key
        return ""

    def _reap(self, watches: list[_Watch]) -> None:
        sessions = {w.family.child.sid: w for w in watches}
        seen = {pid: (m.stat.start_ticks, w) for w in watches for pid, m in list(w.family.members.items())}
        births = {pid: ticks for pid, (ticks, _) in seen.items()}
        for stray in reap_strays({sid: w.family.child.start_ticks for sid, w in sessions.items()}, births, self._proc):
            watch = sessions.get(stray.session) or seen[stray.pid][1]
            with watch.lock:
                watch.family.collected(stray)

    def _look(self, watch: _Watch, orphans: list[int], *, last: bool = False) -> None:
        sample = watch.family.look(orphans)
        if sample.processes:
            watch.tally.add(sample)
        else:
            watch.tally.finish(sample)
        self._plan(watch)
        now = time.monotonic()
        newest = watch.tally.last or sample
        if last or now >= watch.next_record:
            watch.next_record = now + min(self._record_s, max(0.5, now - watch.began))
            watch.files.add(newest)
            self._post(Sampled(watch.key, newest))
            if not last:
                watch.files.sum_up(watch.tally.usage())
        if not last and not watch.told:
            failure = _judge(watch, sample, now)
            if failure is not None:
                watch.told = True
                self._post(LimitBroken(watch.key, failure))

    def _plan(self, watch: _Watch) -> None:
        """The next look: soon after the start, then on a grid that all payloads share."""
        watch.looks += 1
        now = time.monotonic()
        if watch.looks < len(_FIRST_LOOKS_S):
            watch.next_look = max(now, watch.began + _FIRST_LOOKS_S[watch.looks])
        else:
            watch.next_look = (now // self._interval_s + 1) * self._interval_s


def _judge(watch: _Watch, sample: Sample, now: float) -> Failure | None:
    """What is wrong with a payload now. Memory is judged by exact figures only, and after the grace time."""
    if judge.over_memory(watch.limits, sample):
        sample = watch.family.exact()
    if judge.over_memory(watch.limits, sample):
        watch.over_memory_since = watch.over_memory_since or now
        if now - watch.over_memory_since >= watch.limits.memory_grace_s:
            return judge.memory_failure(watch.limits, sample)
    else:
        watch.over_memory_since = None
    return judge.broken(watch.limits, sample)


def _completed(watch: _Watch) -> Usage:
    """The summary, with the kernel's own maximum for payloads that ended before anybody could look."""
    usage = watch.tally.usage()
    peak_kb = watch.family.child.spent.max_rss_kb
    if peak_kb > usage.max_rss_kb:
        usage = msgspec.structs.replace(usage, max_rss_kb=peak_kb)
    if not usage.max_pss_kb:
        usage = msgspec.structs.replace(usage, max_pss_kb=peak_kb, avg_pss_kb=peak_kb, avg_rss_kb=peak_kb)
    return usage
