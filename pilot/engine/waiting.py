"""Jobs that wait for their part of the node: the first begins when it fits, some fetch their inputs before that."""

from __future__ import annotations

import os
from collections import deque

from pilot.core.errors import Failure, ResourceUnavailable
from pilot.core.lifecycle import Phase
from pilot.engine.means import Means, Run
from pilot.engine.runner import Runner
from pilot.runtime.slots import needs_of

_DISK_MARGIN = 1 << 30
_BEFORE_PAYLOAD = (Phase.STAGING_IN, Phase.RUNNING)


class Waiting:
    """Lives in the loop's thread. Jobs begin in the order in which they came."""

    def __init__(self, means: Means, runner: Runner) -> None:
        self._means, self._runner = means, runner
        self._jobs: deque[Run] = deque()

    def __len__(self) -> int:
        return len(self._jobs)

    def add(self, run: Run) -> None:
        """Let a job wait for its turn."""
        self._jobs.append(run)

    def start(self, why: Failure | None) -> None:
        """Let all begin that fit; with `why` they are stopped for it instead."""
        self._start_parked()
        while self._jobs:
            run = self._jobs[0]
            if why is not None:
                self._runner.stop(run, why)
            if run.job.error is None and (refusal := self._means.slots.refusal(needs_of(run.definition))):
                self._runner.stop(run, ResourceUnavailable(refusal).failure())  # an earlier pilot had a larger node
            if run.job.error is None:
                run.grant = self._means.slots.take(run.key, needs_of(run.definition))
                if run.grant is None and not self._may_fetch_ahead(run):
                    return
            self._jobs.popleft()
            if run.job.phase is Phase.ACQUIRED:
                self._runner.start(run)
            else:
                self._runner.resume(run)

    def ahead_left(self) -> int:
        """How many jobs more may have their inputs fetched before there is room to run them."""
        ahead = [r for r in self._runner.active.values() if r.grant is None and r.job.phase in _BEFORE_PAYLOAD]
        return max(0, self._means.settings.prefetch_jobs - len(ahead))

    def _start_parked(self) -> None:
        """Those whose inputs are here already come first."""
        for run in [r for r in self._runner.active.values() if r.parked]:
            if not run.parked:  # one that could not start gave its room back, and this one has got it already
                continue
            run.grant = self._means.slots.take(run.key, needs_of(run.definition))
            if run.grant is None:
                break
            self._runner.go(run)

    def _may_fetch_ahead(self, run: Run) -> bool:
        """Whether there is disk for the inputs of one more job beside what runs."""
        if self.ahead_left() <= 0:
            return False
        needed = sum(file.size or 0 for file in run.definition.inputs) * 2 + _DISK_MARGIN
        disk = os.statvfs(self._means.workdir)
        return disk.f_bavail * disk.f_frsize > needed
