"""The agent: asks for jobs while there is room, lets each go its way, and ends when there is nothing left to do."""

from __future__ import annotations

import contextlib
import logging
import math
import signal
import time
from typing import Any

from pilot.core.errors import Failure, NoLocalSpace, PilotError, Preemption, ReachedMaxTime
from pilot.core.exitcodes import ExitCode, exit_code_of, exit_code_of_signal
from pilot.core.lifecycle import Phase
from pilot.db.outputs import moved_before
from pilot.engine import concealed, recovery
from pilot.engine.arrivals import Arrivals
from pilot.engine.asking import Asking
from pilot.engine.horizon import Horizon
from pilot.engine.leaving import leave_nothing
from pilot.engine.means import CHORES, Means, Run
from pilot.engine.monitor import LimitBroken, Sampled
from pilot.engine.runner import Runner
from pilot.engine.signals import SIGNALS
from pilot.engine.surprise import Surprise
from pilot.engine.waiting import Waiting
from pilot.lib.orphans import end_transfers

_log = logging.getLogger("pilot.agent")
_SAME_ORDER_S = 0.3


class Agent:
    """One pilot. `run` returns the exit code (protocol.md 6.3) when everything has come to its end."""

    def __init__(self, means: Means) -> None:
        self.means = means
        self.settings = means.settings
        self.runner = Runner(
            means, on_room=self._look_for_jobs, on_end=self._job_ended, on_back=lambda run: self._waiting.add(run)
        )
        self._asking = Asking(means, lambda: bool(self.runner.active), self._answered, self._look_for_jobs)
        self._surprise = Surprise(means, self.runner)
        self._draining = False
        self._signals, self._signalled_at = 0, -math.inf
        self._why: Failure | None = None
        self._exit_code = 0
        self._asked = (0, 0.0)
        self._horizon = Horizon(means, on_known=self._look_for_jobs, on_end=self._time_is_over)
        self._waiting = Waiting(means, self.runner)
        self._arrivals = Arrivals(means, self.runner, self._horizon, self._waiting, on_room=self._look_for_jobs)

    def run(self) -> int:
        """Serve until the end. Jobs of an earlier pilot come first."""
        loop = self.means.loop
        ignored = {signal.SIGHUP} if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else set()  # nohup
        loop.signals(SIGNALS.keys() - ignored, self._signalled)
        self._horizon.begin()
        self._tell_worker("started")
        self._look_at_credentials()
        self.means.monitor.start()
        try:
            loop.post(self._recover)
            self._surprise.serve(self._drain)
        except NoLocalSpace as full:
            _log.error("%s: nothing can be noted any more, the pilot ends", full)
            self._exit_code = ExitCode.NO_SPACE
        finally:
            leave_nothing(self.runner.active.values(), self.means.ground)
        self._tell_worker("finished")
        self._asking.close()
        self.runner.reporter.close(2.0)
        self.runner.events.close()
        self.means.staging.close(0.5)
        self.means.disk.close()
        self.means.monitor.close()
        return self._surprise.exit_code or self._exit_code or self._arrivals.exit_code or self._asking.exit_code

    def from_monitor(self, message: object) -> None:
        """A message of the monitor, in the loop's thread."""
        match message:
            case Sampled(key=key, sample=sample):
                with contextlib.suppress(NoLocalSpace):  # on a full disk the series has a gap, the job goes on
                    self.means.store.add_sample(key, sample)
            case LimitBroken(key=key, failure=failure):
                if failure.code == NoLocalSpace.code and self._waiting.make_room():
                    self.means.monitor.pardon(key)
                elif run := self.runner.active.get(key):
                    self.runner.stop(run, failure)

    def _look_at_credentials(self) -> None:
        """Have them renewed in time; with one that has ended no more jobs are asked for."""
        look = self.means.look_at_credentials
        if look is None:
            return

        def looked(found: tuple[float, Failure | None] | None, error: PilotError | None) -> None:
            next_s, failure = found or (60.0, error.failure() if error else None)
            if failure is not None:
                _log.error("%s: no more jobs are asked for", failure.message)
                self._asking.finish(exit_code_of(failure.code))
            self.means.loop.after(next_s, self._look_at_credentials)

        self.means.staging.submit(CHORES, look, lambda found, error: self.means.loop.post(lambda: looked(found, error)))

    def _tell_worker(self, word: str) -> None:
        if self.settings.worker_updates:
            node, gpus = self.means.here.maps() if word == "started" else (None, [])
            self.runner.reporter.tell_worker(word, node, gpus)

    # an earlier pilot's jobs

    def _recover(self) -> None:
        store = self.means.store
        processes, jobs = store.living_processes(), store.unfinished()
        concealed.forget_others(self.means.workdir, [stored.job.key for stored in jobs])
        if not processes and not jobs:
            self._look_for_jobs()
            return
        _log.info("an earlier pilot left %d jobs and %d processes here", len(jobs), len(processes))

        def work() -> tuple[list[int], dict[int, str]]:
            end_transfers(self.means.transferer.token, self.settings.kill_after)
            settled = recovery.end_orphans(processes, self.settings.kill_after, self.means.boxes)
            return settled, recovery.still_wanted(self.means.source, jobs)

        self._asking.do(work, lambda found, error: self._recovered(*(found or ([], {}))))

    def _recovered(self, settled: list[int], words: dict[int, str]) -> None:
        """Take the earlier pilot's jobs up. A process that could not be ended stays noted for the next pilot."""
        store = self.means.store
        with contextlib.suppress(NoLocalSpace):
            store.settle(settled)
        for stored in store.unfinished():
            run = recovery.restore(stored, self.means, moved_before(store.path, stored.job.key))
            self.runner.adopt(run)
            self._arrivals.taken += 1
            failure = recovery.verdict(words.get(run.definition.job_id, ""))
            if failure is not None and run.job.phase is not Phase.REPORTING:
                self.runner.stop(run, failure)
            if run.job.phase in (Phase.ACQUIRED, Phase.STAGING_IN, Phase.RUNNING):
                self._waiting.add(run)
            else:
                self.runner.resume(run)
        self._look_for_jobs()

    # jobs

    def _look_for_jobs(self) -> None:
        """Start what waits for room; ask for more if there is room left."""
        self._waiting.start(self._why)
        wanted = self._wanted()
        if self._done():
            self.means.loop.stop()
            return
        if wanted <= 0:
            return
        capacity = self._waiting.ahead.capacity(wanted, self._horizon.seconds_left())
        self._asked = (capacity.seconds_left or 0, time.time())
        self._asking.ask(capacity)

    def _wanted(self) -> int:
        if not self._asking.may_ask or self._draining or self._waiting:
            return 0
        if not self._horizon.known:
            return 0
        if late := self._horizon.too_late(self._arrivals.taken):
            _log.info("no more jobs are asked for: %s", late)
            self._asking.finish()
            return 0
        if short := self.runner.reserve.short():
            self._without_disk(short)
            return 0
        quota = self.settings.jobs - self._arrivals.taken if self.settings.jobs else 1_000_000
        return min(self.means.slots.free().jobs + self._waiting.ahead.left(), quota)

    def _without_disk(self, short: str) -> None:
        """Ask for no job while the disk is full; end if there is none whose end could make room."""
        _log.error("%s: too little disk to take a job in: %s", self.means.workdir, short)
        if not self.runner.active and not self.runner.cleaning:
            self._asking.finish(ExitCode.NO_SPACE)

    def _answered(self, jobs: tuple[dict[str, Any], ...]) -> None:
        for raw in jobs:
            self._arrivals.take_in(raw, *self._asked)
        self._look_for_jobs()

    def _job_ended(self, run: Run) -> None:
        code = run.job.error.code if run.job.error else 0
        _log.info("job %s %s", run.key, f"failed with error {code}" if code else "finished")
        self._look_for_jobs()

    def _done(self) -> bool:
        if self.runner.active or self.runner.cleaning or self._waiting or self._asking.under_way or self._arrivals.held:
            return False
        quota_met = bool(self.settings.jobs) and self._arrivals.taken >= self.settings.jobs
        return self._draining or self._asking.finished or quota_met

    # the end

    def _time_is_over(self, why: str) -> None:
        self._drain(ReachedMaxTime(why), ExitCode.MAX_TIME)

    def _signalled(self, number: int) -> None:
        kind, code = SIGNALS[number], exit_code_of_signal(number)
        if number == signal.SIGTERM and self.settings.pod:
            kind = Preemption
        now = time.monotonic()
        if number != signal.SIGINT and now - self._signalled_at < _SAME_ORDER_S:
            return  # one order, sent to every process of the batch job and passed on by a wrapper as well
        self._signals, self._signalled_at = self._signals + 1, now
        if self._signals == 1:
            self._drain(kind(f"the pilot was told to end by {signal.Signals(number).name}"), code)
        else:
            _log.warning("told to end once more: payloads are killed at once")
            self.runner.kill_payloads()
            self.runner.reporter.hasten()
            self.means.loop.after(min(5.0, self.settings.grace / 4), self._give_up)

    def _drain(self, why: PilotError, code: int) -> None:
        """Take no more jobs, end those that run, save and report; leave within the grace whatever happens."""
        if self._draining:
            return
        _log.warning("%s: no more jobs, those under way are ended", why)
        self._draining, self._exit_code = True, code
        self._asking.finish()
        self.means.loop.after(self.settings.grace, self._give_up)
        self._why = failure = why.failure()
        for run in list(self.runner.active.values()):
            if run.job.phase in (Phase.ACQUIRED, Phase.STAGING_IN, Phase.RUNNING):
                with self._surprise.contained():
                    self.runner.stop(run, failure)
        self.runner.reporter.hasten()
        self._look_for_jobs()

    def _give_up(self) -> None:
        """The grace is over: what is not reported stays in the PilotDB for the next pilot."""
        self.runner.kill_payloads()
        for run in self.runner.active.values():
            run.cancel.set()
        if self._surprise.report_rest():
            self.means.loop.after(min(5.0, self.settings.grace / 4), self._give_up)
            return
        if self.runner.active:
            _log.error("%d jobs could not be reported in time; the PilotDB keeps them", len(self.runner.active))
        self.means.loop.stop()
