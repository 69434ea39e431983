"""One thread looks at all payloads of the pilot in turn: samples, files in prmon's form, limits.

The thread named `monitor` never waits for a payload, never signals one and never touches the PilotDB: what it finds
it posts to the engine's inbox.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from pilot.core import limits as judge
from pilot.core.errors import Failure
from pilot.core.limits import Limits
from pilot.core.usage import Sample, Usage
from pilot.engine.monitor_disk import Disk
from pilot.engine.monitor_files import Files, hardware
from pilot.engine.monitor_orphans import Orphans
from pilot.engine.monitor_surveyor import Surveyor
from pilot.engine.monitor_tree import Budget, Family
from pilot.engine.monitor_watch import Watch
from pilot.lib import stacks
from pilot.lib.cgroup_ground import group_of
from pilot.lib.gpu import Gpus
from pilot.lib.process import Child
from pilot.lib.procfs import Proc

T = TypeVar("T")
STACKS_NAME = "stacks.txt"
_LOOPING = 1150
#: After one payload was ended for a full disk, the others get this long before the next one is.
_DISK_PAUSE_S = 15.0
#: How often the summary of a living payload is written anew.
_SUMMARY_S = 60.0
#: The share of a core that looks may take (page walks have a budget of their own), and the longest time between two.
_SHARE = 0.002
_LONGEST_S = 10.0
#: How long the end of a payload may wait for its work directory, twice; and for the stacks of one that loops.
_LAST_SURVEY_S = 3.0
_STACKS_S = 20.0
_log = logging.getLogger("pilot.monitor")


class Sampled(msgspec.Struct, frozen=True):
    """A sample worth keeping."""

    key: str
    sample: Sample


class LimitBroken(msgspec.Struct, frozen=True):
    """A payload used up more than it may; posted once per payload."""

    key: str
    failure: Failure


class Monitor:
    """The sampler. `post` must take messages from any thread and return at once.

    `interval_s` is the time between two looks (longer when so much runs that looking gets dear), `record_s` that
    between two lines of the files and two `Sampled` messages. Disks are looked at in a thread of its own: one that
    does not answer for `disk_patience_s` is told in the log and holds nobody up. `gpus` (from `Gpus.find`) are looked
    at as well. All methods may be called from any thread.
    """

    def __init__(
        self,
        post: Callable[[object], None],
        *,
        interval_s: float = 1.0,
        record_s: float = 10.0,
        proc_root: Path = Path("/proc"),
        gpus: Gpus | None = None,
        disk_patience_s: float = 10.0,
    ) -> None:
        self._post = post
        self._interval_s = interval_s
        self._between_s = interval_s
        self._round_s = 0.0
        self._record_s = record_s
        self._proc = Proc(proc_root, reuse_s=0.2)
        self._gpus = gpus
        self._hardware = hardware(self._proc, gpus.models() if gpus else ())
        self._budget = Budget()
        self._walks = Budget(share=0.001, burst_s=0.05)
        self._watches: dict[str, Watch] = {}
        self._disk_judged_at: dict[int, float] = {}
        self._orphans = Orphans(self._proc)
        self._wake = threading.Condition()
        self._closed = False
        self._surveyor = Surveyor(self._tell_silence, disk_patience_s)
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
        self._surveyor.close()

    def watch(
        self,
        key: str,
        child: Child,
        workdir: Path,
        limits: Limits,
        outputs: Sequence[str] = (),
        gpus: Sequence[str] = (),
    ) -> None:
        """Look at this payload from now on; the two files are written to `workdir`.

        `outputs` names the output files, relative to `workdir`, that `output_mb` limits; `gpus` the GPUs that were
        given to the payload, by index or UUID.
        """
        family = Family(child, self._proc, self._budget, files_every_s=0.0 if limits.open_files else 10.0)
        watch = Watch(key, family, Files(workdir, self._hardware), Disk(workdir, outputs, self._walks), limits)
        if self._gpus is not None:
            watch.use_gpus(self._gpus, gpus)
        with self._wake:
            self._watches[key] = watch
            self._wake.notify_all()

    def include(self, key: str, pid: int) -> bool:
        """Count a process that is no descendant of the payload's own (in a container of a daemon), and its descendants
        and cgroup. False if nobody watches that payload or the process has gone."""
        watch = self._watches.get(key)
        if watch is None:
            return False
        with watch.lock:
            watch.group = group_of(pid, self._proc) or watch.group
            return watch.family.include(pid)

    def unwatch(self, key: str) -> Usage:
        """Stop looking, write the files' last lines and tell the summary. An unknown key has used nothing.

        To be called when the payload has ended and its remaining members as well; before or after `Child.poll`, the
        CPU time is exact either way. `core.limits.aftermath` judges the summary.
        """
        watch = self._watches.get(key)
        if watch is None:
            return Usage()
        orphans = self._orphans.find(list(self._watches.values()))
        if len(self._watches) == 1:
            self._orphans.leaders_left(watch)
        answers = self._surveyor.settle(key, watch.last_survey, _LAST_SURVEY_S)
        with watch.lock:
            with self._wake:
                self._watches.pop(key, None)
            newest = watch.look(orphans.get(key, []))
            self._record(watch, newest)
            usage = watch.finished()
        if not answers or not self._surveyor.settle(key, watch.leave_files, _LAST_SURVEY_S):
            self._tell_silence(key)
        return usage

    def on_disk(self, key: str, work: Callable[[], T], otherwise: T, patience_s: float = _LAST_SURVEY_S) -> T:
        """What `work` finds in a job's directory; `otherwise` if its disk does not answer in that time.

        Raises what the work raises.
        """
        for found in self._surveyor.answer(key, work, patience_s):
            return found
        self._tell_silence(key)
        return otherwise

    def latest(self, key: str) -> Sample | None:
        """The newest sample."""
        watch = self._watches.get(key)
        return watch.tally.last if watch else None

    def pardon(self, key: str) -> None:
        """Judge a payload further that was told to have used up too much: the reason for it is being removed."""
        if watch := self._watches.get(key):
            watch.told = False

    def so_far(self, key: str) -> Usage | None:
        """The summary of a payload that still runs; None for one that nobody looks at or that has no sample yet."""
        watch = self._watches.get(key)
        if watch is None or watch.tally.last is None:
            return None
        with watch.lock:
            return watch.tally.usage()

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
            begun = time.thread_time() - self._budget.spent_s
            orphans = self._orphans.find(list(self._watches.values()))
            for watch in due:
                with watch.lock:
                    if self._watches.get(watch.key) is watch:
                        self._look(watch, orphans.get(watch.key, []))
            self._judge_disks(due)
            self._stretch(time.thread_time() - self._budget.spent_s - begun, len(due))

    def _stretch(self, cost_s: float, looks: int) -> None:
        """Look less often at very many processes, so that looking stays cheap."""
        round_s = cost_s / looks * len(self._watches)
        self._round_s = 0.7 * self._round_s + 0.3 * round_s if self._round_s else round_s
        self._between_s = max(self._interval_s, min(_LONGEST_S, self._round_s / _SHARE))

    def _look(self, watch: Watch, orphans: list[int]) -> None:
        newest = watch.look(orphans)
        watch.plan(self._between_s)
        if watch.record_due(self._record_s):
            self._record(watch, newest)
            watch.files.sum_up(watch.tally.usage(), at_most_every_s=_SUMMARY_S)
        self._surveyor.ask(watch.key, watch.survey)
        if watch.looping is not None:
            self._tell_looping(watch, watch.looping)
        failure = None if watch.told else watch.judged()
        if failure is not None:
            self._tell(watch, failure)

    def _record(self, watch: Watch, newest: Sample) -> None:
        """Put the newest sample on record, and before it a peak since the last one."""
        for sample in (watch.peak_passed(), newest):
            if sample is not None:
                watch.files.add(sample)
                self._post(Sampled(watch.key, sample))
        watch.recorded(newest)

    def _tell(self, watch: Watch, failure: Failure) -> None:
        watch.told = True
        if failure.code != _LOOPING:
            self._post(LimitBroken(watch.key, failure))
            return
        watch.looping, watch.looping_since = failure, time.monotonic()
        members, into = list(watch.family.members), watch.disk.workdir / STACKS_NAME

        def dump() -> None:
            stacks.dump(members, into, self._proc)
            watch.dumped.set()
            with self._wake:
                watch.next_look = 0.0
                self._wake.notify_all()

        threading.Thread(target=dump, name="stacks", daemon=True).start()

    def _tell_looping(self, watch: Watch, failure: Failure) -> None:
        """Told once the stacks are on disk, or when that takes too long: debuggers and disks may hang as well."""
        if watch.dumped.is_set() or time.monotonic() - watch.looping_since > _STACKS_S:
            watch.looping = None
            self._post(LimitBroken(watch.key, failure))

    def _tell_silence(self, key: str) -> None:
        """To the pilot's own log: a job's lies in the directory that does not answer."""
        _log.error("job %s: the file system of its work directory, or one below it, does not answer", key)

    def _judge_disks(self, due: list[Watch]) -> None:
        """On a disk that is too full, only the payload that holds most of it is blamed; then the others get a pause."""
        now = time.monotonic()
        full: dict[int, list[tuple[Watch, Failure]]] = {}
        for watch in due:
            failure = None if watch.told else judge.disk_full(watch.limits, watch.disk_look)
            if failure is not None and now >= self._disk_judged_at.get(watch.disk.file_system, 0.0):
                full.setdefault(watch.disk.file_system, []).append((watch, failure))
        for file_system, candidates in full.items():
            watch, failure = max(candidates, key=lambda pair: pair[0].disk.size)
            self._disk_judged_at[file_system] = now + _DISK_PAUSE_S
            self._tell(watch, failure)
