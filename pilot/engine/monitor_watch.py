"""One payload under watch: its looks, its files, and what is to be said of it."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence

import msgspec

from pilot.core import limits as judge
from pilot.core.errors import Failure
from pilot.core.limits import DiskLook, Limits
from pilot.core.tally import Tally
from pilot.core.usage import Sample, Usage
from pilot.engine.monitor_disk import Disk, shorten
from pilot.engine.monitor_files import Files
from pilot.engine.monitor_life import Life
from pilot.engine.monitor_tree import Family
from pilot.lib.cgroup import Group, Reading
from pilot.lib.gpu import Gpus
from pilot.lib.procfs import Proc

#: Looks soon after the start, so that a payload of a second has a time series too.
_FIRST_LOOKS_S = (0.0, 0.01, 0.03, 0.1, 0.3, 0.6)
#: A series whose points are this part of its length apart.
_POINTS = 500
#: The most that one page fault brings of a file (the kernel's fault-around).
_FAULT_KB = 64
#: An estimate of the PSS that is so much over the largest known one is worth to be made sure of.
_NEW_PEAK = 1.03
_LOGS = ("payload.stdout", "payload.stderr")


class Watch:
    """What the monitor keeps of one payload. The lock is held for one look or for the end, not longer."""

    def __init__(self, key: str, family: Family, files: Files, disk: Disk, limits: Limits) -> None:
        self.key = key
        self.family = family
        self.files = files
        self.disk = disk
        self.limits = limits
        self.tally = Tally()
        self.lock = threading.Lock()
        self.began = time.monotonic()
        self.next_look = self.began
        self.told = False
        self.looping: Failure | None = None
        self.dumped = threading.Event()
        self.looping_since = 0.0
        self.disk_look = DiskLook()
        self.reading = Reading()
        self.group: Group | None = family.child.cgroup
        self._life = Life(self.began)
        self._gpus: Gpus | None = None
        self._assigned: tuple[str, ...] = ()
        self._looks = 0
        self._next_record = self.began
        self._peak: Sample | None = None
        self._recorded_kb = 0
        self._over_memory_since: float | None = None

    def look(self, orphans: list[int]) -> Sample:
        """Take a sample into account; tells the newest state, which for an ended payload is the last living one."""
        sample = self.family.look(orphans)
        if not sample.pss_settled and sample.pss_kb > _NEW_PEAK * self.tally.max_pss_kb:
            sample = self.family.exact(doubtful=True) or sample  # a peak is worth its page walks
        sample = msgspec.structs.replace(sample, workdir_kb=self.disk.size >> 10)
        if self.group is not None:
            reading = self.group.read()
            self.reading = reading if reading != Reading() else self.reading
            sample = _with_reading(sample, self.reading)
        if self._gpus is not None:
            sample = self._with_gpus(sample, self._gpus)
        if sample.processes:
            self.tally.add(sample)
            if sample.pss_settled and (self._peak is None or sample.pss_kb > self._peak.pss_kb):
                self._peak = sample
        else:
            self.tally.finish(sample)
        return self.tally.last or sample

    def survey(self) -> None:
        """Look at the disk and write the files: may wait for a file system, so it is done in a thread of its own."""
        self.disk_look = self.disk.look(time.monotonic())
        self.files.write()

    def last_survey(self) -> None:
        """The same once the payload has ended: a whole walk, as far as it goes in half a second."""
        self.disk.finish()
        self.disk_look = self.disk.look(time.monotonic())

    def use_gpus(self, gpus: Gpus, assigned: Sequence[str]) -> None:
        """Look at GPUs too; those `assigned` to the payload count as its own where its processes are not told."""
        self._gpus = gpus
        self._assigned = tuple(assigned)

    def _with_gpus(self, sample: Sample, gpus: Gpus) -> Sample:
        use = gpus.use(self.family.members.keys(), self._assigned)
        return msgspec.structs.replace(
            sample,
            gpus=use.gpus,
            gpu_memory_kb=use.memory_kb,
            gpu_percent=use.percent,
            gpu_memory_percent=use.memory_percent,
        )

    def plan(self, interval_s: float) -> None:
        """Set the time of the next look: soon after the start, then on a grid that all payloads share."""
        self._looks += 1
        now = time.monotonic()
        if self._looks < len(_FIRST_LOOKS_S):
            self.next_look = max(now, self.began + _FIRST_LOOKS_S[self._looks])
        else:
            self.next_look = (now // interval_s + 1) * interval_s

    def record_due(self, record_s: float) -> bool:
        """Whether the newest sample is to be kept: at first more often than every `record_s`, after days less often.

        So a series has some thousand points however long it gets.
        """
        now = time.monotonic()
        if now < self._next_record:
            return False
        age_s = now - self.began
        self._next_record = now + max(min(record_s, max(0.5, age_s)), age_s / _POINTS)
        return True

    def peak_passed(self) -> Sample | None:
        """The sample with the most memory since the last record, if the records would not show it."""
        peak, self._peak = self._peak, None
        last = self.tally.last
        return peak if peak and last and peak.pss_kb > 1.03 * max(last.pss_kb, self._recorded_kb) else None

    def recorded(self, sample: Sample) -> None:
        """Note what was put on record."""
        self._recorded_kb = sample.pss_kb

    def judged(self) -> Failure | None:
        """What is wrong with the payload now. Memory is judged by exact figures, and after the grace time."""
        sample = self.tally.last
        if sample is None:
            return None
        now = time.monotonic()
        quiet = self._life.look(sample, self.disk.changed_at, self.family.states, now)
        return (
            judge.out_of_memory(self.limits, self.reading.oom_kills, self.reading.peak_kb)
            or self._over_memory(sample, now)
            or judge.broken(self.limits, sample)
            or judge.broken_on_disk(self.limits, self.disk_look)
            or judge.looping(self.limits, quiet)
        )

    def _over_memory(self, sample: Sample, now: float) -> Failure | None:
        if judge.over_memory(self.limits, sample):
            sample = self.family.exact() or sample
            if not sample.pss_settled:
                return None
        if not judge.over_memory(self.limits, sample):
            self._over_memory_since = None
            return None
        self._over_memory_since = self._over_memory_since or now
        if now - self._over_memory_since < self.limits.memory_grace_s:
            return None
        return judge.memory_failure(self.limits, sample)

    def _peak_kb(self) -> int:
        """The largest resident memory of one process of the payload, as far as it can be known.

        The kernel's figure is exact where it is more than this pilot, as which the payload's first process began, ever
        had. A smaller payload is taken as it was last seen alive; one that nobody saw had at most what its page faults
        can have brought.
        """
        spent = self.family.child.spent
        if spent.max_rss_kb > Proc().peak_kb(os.getpid()):
            return spent.max_rss_kb
        return self.family.first_peak_kb or min(spent.max_rss_kb, spent.page_faults * _FAULT_KB)

    def finished(self) -> Usage:
        """The summary of an ended payload."""
        usage = msgspec.structs.replace(
            self.tally.usage(),
            core_dumps=self.disk.core_dumps,
            oom_kills=self.reading.oom_kills,
            cgroup_peak_kb=self.reading.peak_kb,
        )
        peak_kb = self._peak_kb()
        if not usage.max_pss_kb:
            usage = msgspec.structs.replace(usage, avg_pss_kb=peak_kb, avg_rss_kb=peak_kb)
        if peak_kb > _NEW_PEAK * usage.max_rss_kb:  # nobody saw it, so nobody knows how much of it was shared
            usage = msgspec.structs.replace(usage, max_pss_kb=max(usage.max_pss_kb, peak_kb), pss_at_most=True)
        usage = msgspec.structs.replace(usage, max_rss_kb=max(usage.max_rss_kb, peak_kb))
        self.files.sum_up(usage)
        return usage

    def leave_files(self) -> None:
        """Write the last lines and the summary; logs over their limit are shortened to head and tail."""
        limit = self.limits.stdout_mb << 20
        for name in _LOGS if limit else ():
            log = self.disk.workdir / name
            if log.exists() and log.stat().st_size > limit:
                shorten(log, min(int(self.limits.stdout_keep_mb * (1 << 20)), limit // 3))
        self.files.write()


def _with_reading(sample: Sample, reading: Reading) -> Sample:
    """What the cgroup knows better: CPU time, block I/O, swap of all that ever ran in it; throttling and pressure."""
    exact = reading.user_s + reading.system_s > sample.cpu_s
    return msgspec.structs.replace(
        sample,
        user_s=reading.user_s if exact else sample.user_s,
        system_s=reading.system_s if exact else sample.system_s,
        read_bytes=max(sample.read_bytes, reading.read_bytes),
        write_bytes=max(sample.write_bytes, reading.write_bytes),
        swap_kb=max(sample.swap_kb, reading.swap_kb),
        throttled_s=reading.throttled_s,
        stalled_cpu_s=reading.stalled_cpu_s,
        stalled_memory_s=reading.stalled_memory_s,
        stalled_io_s=reading.stalled_io_s,
    )
