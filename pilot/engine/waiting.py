"""Jobs that wait for their part of the node: the first begins when it fits, some fetch their inputs before that."""

from __future__ import annotations

from collections import deque

from pilot.core.errors import Failure, ResourceUnavailable
from pilot.core.lifecycle import Phase
from pilot.engine.ahead import Ahead
from pilot.engine.means import Means, Run
from pilot.engine.runner import Runner
from pilot.runtime.slots import needs_of


class Waiting:
    """Lives in the loop's thread. Jobs begin in the order in which they came."""

    def __init__(self, means: Means, runner: Runner) -> None:
        self._means, self._runner = means, runner
        self._jobs: deque[Run] = deque()
        self.ahead = Ahead(means, runner.active, self._jobs)
        self._watching = False

    def __len__(self) -> int:
        return len(self._jobs)

    def add(self, run: Run) -> None:
        """Let a job wait for its turn."""
        self._jobs.append(run)

    def _watch_disk(self) -> None:
        """As long as any job is ahead, have its inputs give way when the disk gets short for those that run."""

        def look() -> None:
            self._watching = False
            if self.ahead.is_short():
                self.make_room()
            self._watch_disk()

        if not self._watching and self.ahead.without_room():
            self._watching = True
            self._means.loop.after(self._means.settings.monitor_interval, look)

    def make_room(self) -> bool:
        """Give up inputs of one job that were fetched ahead; False if there are none."""
        run = self.ahead.to_give_up()
        if run is not None:
            run.log.info("the disk gets short: its inputs are given up until there is room to run")
            self._runner.put_back(run)
        return run is not None

    def start(self, why: Failure | None) -> None:
        """Let all begin that fit; with `why` they are stopped for it instead. Jobs that are here ahead come first."""
        for run in [run for run in self._jobs if run.job.error is not None]:  # told to stop: they need no room
            self._begin(run)
        self._start_ahead()
        self._start_waiting(why)
        self._watch_disk()

    def _start_waiting(self, why: Failure | None) -> None:
        while self._jobs:
            run = self._jobs[0]
            if why is not None:
                self._runner.stop(run, why)
            if run.job.error is None and (refusal := self._means.slots.refusal(needs_of(run.definition))):
                self._runner.stop(run, ResourceUnavailable(refusal).failure())  # an earlier pilot had a larger node
            if run.job.error is None:
                run.grant = self._means.slots.take(run.key, needs_of(run.definition))
                if run.grant is None and not self.ahead.may_fetch(run):
                    return
            self._begin(run)

    def _begin(self, run: Run) -> None:
        """Let a job go its way, unless it does so already."""
        if run not in self._jobs:
            return
        self._jobs.remove(run)
        if run.job.phase is Phase.ACQUIRED:
            self._runner.start(run)
        else:
            self._runner.resume(run)

    def _start_ahead(self) -> None:
        """Free room goes to those whose inputs are here, then to those whose inputs come."""
        for run in self.ahead.without_room():
            if run.grant is not None or run.job.stopping:  # one that could not start gave its room back to this one
                continue
            run.grant = self._means.slots.take(run.key, needs_of(run.definition))
            if run.grant is None:
                break
            if run.parked:
                self._runner.go(run)
