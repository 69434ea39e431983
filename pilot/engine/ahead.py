"""Jobs whose inputs are fetched before there is room to run them: how many, how large, and what the server is told."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Mapping
from pathlib import Path

from pilot.core.lifecycle import Phase
from pilot.engine.means import Means, Run
from pilot.plugins.sources.base import Capacity

_BEFORE_PAYLOAD = (Phase.STAGING_IN, Phase.RUNNING)
_MB = 1 << 20
#: What stays free for those that run, whatever their jobs say of their needs: more than that at which the monitor ends
#: one of them (`bounds`). With less than the second what was fetched ahead goes.
_MARGIN, _SHORT = 2 << 30, 3 << 29


class Ahead:
    """Lives in the loop's thread. `active` are all jobs under way, `waiting` those of them that nothing is done for."""

    def __init__(self, means: Means, active: Mapping[str, Run], waiting: Collection[Run]) -> None:
        self._means, self._active, self._waiting = means, active, waiting

    def without_room(self) -> list[Run]:
        """The jobs that are here ahead of their turn, in the order in which they get it: complete ones first."""
        waiting = {run.key for run in self._waiting}
        ahead = [
            run
            for run in self._active.values()
            if run.grant is None
            and run.job.phase in _BEFORE_PAYLOAD
            and not run.job.stopping
            and run.key not in waiting
        ]
        return sorted(ahead, key=lambda run: not run.parked)

    def left(self) -> int:
        """How many jobs more may have their inputs fetched; none while the disk has no room to spare."""
        most = (
            self._means.settings.prefetch_jobs - len(self.without_room()) if self._means.settings.prefetch_jobs else 0
        )
        return most if most > 0 and self._spare() > _MARGIN else 0

    def may_fetch(self, run: Run) -> bool:
        """Whether there is disk for the inputs of one more job beside what runs and what comes already.

        Not twice: where they had to go once, they come when there is room to run.
        """
        return not run.put_back and self.left() > 0 and self._spare() > _MARGIN + 2 * _input_bytes(run)

    def is_short(self) -> bool:
        """Whether those that run need the disk that the inputs of others take."""
        disk = os.statvfs(self._means.workdir) if self._means.settings.prefetch_jobs else None
        return disk is not None and disk.f_bavail * disk.f_frsize < _SHORT

    def to_give_up(self) -> Run | None:
        """The job whose inputs go first when the disk gets short: the last one that came."""
        here = [run for run in self.without_room() if run.parked or run.job.phase is Phase.STAGING_IN]
        return next((run for run in reversed(here) if not run.put_back and not run.facts.runs), None)

    def capacity(self, wanted: int, seconds_left: int) -> Capacity:
        """What to ask for: for each job that would run at once its part of the free room, else as much as the largest
        one that runs has, whose place it may get."""
        free = self._means.slots.free()
        if free.jobs:
            parts = min(wanted, free.jobs)
            cores, memory_mb, disk_mb = free.cores, free.memory_mb // parts, free.disk_mb // parts
        else:
            grants = [run.grant for run in self._active.values() if run.grant is not None]
            cores = max((grant.cores for grant in grants), default=0)
            memory_mb = max((grant.memory_mb for grant in grants), default=0)
            disk_mb = max((grant.disk_mb for grant in grants), default=0)
        return Capacity(wanted, cores, memory_mb, disk_mb, free.gpus, seconds_left)

    def _spare(self) -> int:
        """The bytes of the disk that nobody has been promised: neither a job that runs nor inputs under way."""
        disk = os.statvfs(self._means.workdir)
        waiting = {run.key for run in self._waiting}
        under_way = [run for run in self._active.values() if run.key not in waiting]
        return disk.f_bavail * disk.f_frsize - sum(self._promised(run) for run in under_way)

    def _promised(self, run: Run) -> int:
        """What a job may still write."""
        if run.job.phase not in _BEFORE_PAYLOAD:
            return 0
        needs = _input_bytes(run) if run.job.phase is Phase.STAGING_IN else 0
        if run.grant is not None:
            needs = max(needs, run.definition.disk_mb * _MB)
        return max(0, needs - _bytes_in(run.directory)) if needs else 0


def _input_bytes(run: Run) -> int:
    return sum(item.size or 0 for item in run.definition.inputs)


def _bytes_in(directory: Path) -> int:
    """What lies in the directory itself; what is below it counts as not written, which errs to the safe side."""
    total = 0
    with contextlib.suppress(OSError), os.scandir(directory) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                found = entry.stat(follow_symlinks=False)
                total += found.st_blocks * 512
    return total
