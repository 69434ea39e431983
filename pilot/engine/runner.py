"""The job's way: orders become work, what comes of the work becomes events, and every event is on disk before the
next order is carried out."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec

from pilot.core.errors import Failure, NoLocalSpace, PilotError, UnknownException
from pilot.core.facts import Facts
from pilot.core.job import JobDefinition
from pilot.core.lifecycle import Event, Job, Order, Phase, Reply, Stop, decide, entry_order
from pilot.engine import clones, ending, jobdir, payload, stagein, stagework
from pilot.engine.answers import Answers
from pilot.engine.concealed import Concealed
from pilot.engine.eventwork import EventWork
from pilot.engine.means import CHORES, STAGE_IN, STAGE_OUT, Means, Run
from pilot.engine.payloadway import PayloadWay
from pilot.engine.reporter import Reporter
from pilot.engine.reserve import Reserve
from pilot.engine.telling import Telling
from pilot.engine.timing import timed
from pilot.lib.cancel import Cancel
from pilot.lib.traceback_file import story_of

#: Errors of inputs that are not what the catalogue says they are: told to the server as corrupted.
_CORRUPT = frozenset({1145, 1171})
#: For merge jobs, whose inputs can be made again, also those that nobody finds.
_MISSING = frozenset({1100, 1103, 1331})


class Runner:
    """Takes jobs in and brings each to its end. Everything here happens in the loop's thread.

    `on_room` is called when a job has given its part of the node back or waits for one with its inputs staged in
    (`Run.parked`), `on_end` when one has come to its end, `on_back` when one that was ahead has to wait again.
    """

    def __init__(
        self, means: Means, on_room: Callable[[], None], on_end: Callable[[Run], None], on_back: Callable[[Run], None]
    ) -> None:
        self.means = means
        self.active: dict[str, Run] = {}
        self.cleaning = 0
        self._on_room, self._on_end, self._on_back = on_room, on_end, on_back
        self.reserve = Reserve(means.workdir, means.loop, means.settings.disk_patience)
        self.reserve.keep()
        self.answers = Answers(self)
        self.reporter = Reporter(means.store, means.source, means.loop, self.reserve, self.answers.take)
        self.telling = Telling(means, self.reserve, self.reporter)
        self.events = EventWork(means, self.active, self.stop)
        self.payloads = PayloadWay(self)

    # jobs come in

    def take_in(
        self,
        definition: JobDefinition,
        acquired: float,
        getjob_s: float,
        bad: Failure | None,
        hidden: Concealed | None = None,
    ) -> Run | None:
        """Own a job: its directory and its row, before anything else. None if this attempt is known already.

        With `bad` the job is not started, only reported with that error; `hidden` is kept apart from both.
        Raises `NoLocalSpace` when it cannot be noted.
        """
        if self.means.store.knows(definition.key):
            return None
        directory = self.means.workdir / f"job-{definition.key}"
        facts = Facts(acquired=acquired, timing_s={"getjob": getjob_s}, debug=definition.debug)
        trouble = jobdir.make(directory, definition, hidden)
        bad = bad or trouble
        run = Run(definition, Job(definition.key), facts, directory, self.means.log_of(definition.key, directory))
        run.secrets = hidden.user if hidden else {}
        row = (definition, run.job, facts, str(directory), self.means.pilot)
        self.reserve.write(lambda: self.means.store.add_job(*row))
        self.adopt(run)
        run.log.info(f"acquired: {definition.name or definition.transformation}")
        jobdir.add_to_list(self.means.workdir, definition.job_id)
        if bad is not None:
            self.event(run, Reply(Phase.ACQUIRED, bad))
        return run

    def adopt(self, run: Run) -> None:
        """Count a job among those under way; its server hears of it at intervals from now on."""
        self.active[run.key] = run
        self.telling.later(run)

    def start(self, run: Run) -> None:
        """Let a job that has got its part of the node begin."""
        self.event(run, Reply(Phase.ACQUIRED))

    def resume(self, run: Run) -> None:
        """Take up an adopted job where an earlier pilot left it."""
        run.log.info(f"taken up again in phase {run.job.phase}")
        if run.job.stopping:
            run.cancel.set()
        if run.job.phase is Phase.RUNNING:
            self.payloads.rerun(run)
        elif run.job.phase is Phase.REPORTING and self.means.store.final_answered(run.key):
            self.event(run, Reply(Phase.REPORTING))
        elif run.job.phase is not Phase.ACQUIRED:
            self._carry_out(run, entry_order(run.job))

    def stop(self, run: Run, failure: Failure) -> None:
        """Have a job end early."""
        run.log.error(f"is told to stop: {failure.message}")
        self.event(run, Stop(failure))
        self.means.loop.post(self._on_room)  # one that waits for room needs none any more

    def kill_payloads(self) -> None:
        """End all payloads at once; jobs whose payload has ended have none any more."""
        for run in self.active.values():
            if run.child is not None:
                run.child.kill()

    # events and orders

    def event(self, run: Run, event: Event, facts: Facts | None = None, also: Callable[[], None] | None = None) -> None:
        """Decide, write it all in one transaction, then carry out the order."""
        job, order = decide(run.job, event)
        facts = facts or run.facts
        moved = job.phase is not run.job.phase
        name = f"reply {event.phase}" if isinstance(event, Reply) else f"stop {event.failure.code}"

        def write() -> None:
            with self.means.store.transaction():
                if also is not None:
                    also()
                self.means.store.save(job, facts, name)
                if moved and job.phase in (Phase.STAGING_IN, Phase.REPORTING):
                    self.telling.note(run, job, facts)

        if not self.reserve.write_or(write, lambda: self._event_again(run, event, facts, also)):
            return
        if job.error is not None and (run.job.error is None or job.error.code != run.job.error.code):
            run.log.error(f"failed: {job.error.message} (error {job.error.code})")
        run.job, run.facts = job, facts
        if moved:
            run.log.info(f"phase {job.phase}")
            run.began = time.monotonic()
            run.cancel = Cancel()
            self.reporter.poke()
        self._carry_out(run, order)

    def _event_again(self, run: Run, event: Event, facts: Facts, also: Callable[[], None] | None) -> None:
        """The disk was full: what a failed payload filled it with is given up for the sake of the report."""
        if isinstance(event, Reply) and event.failure is not None and run.child is not None:
            jobdir.clean_up(run.directory, "records")
        self.event(run, event, facts, also)

    def _carry_out(self, run: Run, order: Order) -> None:
        match order:
            case Order.STAGE_IN:
                self.work(run, lambda: stagein.stage_in(self.means, run), self._staged_in, STAGE_IN)
            case Order.RUN:
                self.ready(run)
            case Order.STAGE_OUT | Order.STAGE_OUT_LOG:
                self._give_room_back(run)
                log_only = order is Order.STAGE_OUT_LOG
                out = partial(clones.stage_out, self.means, run, log_only)
                send = partial(self.work, run, then=self._staged_out, kind=STAGE_OUT)
                self.events.finish(run, lambda failure: send(partial(out, failure)))
            case Order.REPORT:
                self._give_room_back(run)
                self.reporter.poke()
            case Order.ABANDON:
                self.abandon(run)
            case Order.NOTHING:
                if run.job.phase is Phase.DONE:
                    self._end(run)

    def work(
        self,
        run: Run,
        work: Callable[[], Any],
        then: Callable[[Run, Any, PilotError | None], None],
        kind: str = CHORES,
    ) -> None:
        """Have a staging thread do something for the job and come back with it."""
        loop = self.means.loop

        def done(result: Any, error: PilotError | None) -> None:
            if isinstance(error, UnknownException):
                run.log.detail(story_of(error, self.means.redactor))
            loop.post(lambda: then(run, result, error))

        self.means.staging.submit(kind, work, done)

    # stage-in

    def _staged_in(self, run: Run, result: stagein.StagedIn | None, error: PilotError | None) -> None:
        failure = error.failure() if error else result.failure if result else None
        if failure and self._has_to_wait(run, failure):
            self._give_up_inputs(run)
            return
        facts = timed(run, "stagein")
        if result is not None:
            lost = _CORRUPT | _MISSING if run.definition.event_merge else _CORRUPT
            bad = tuple(o.lfn for o in result.outcomes if o.failure and o.failure.code in lost)
            size = sum(outcome.size for outcome in result.outcomes)
            facts = msgspec.structs.replace(facts, input_bytes=size, corrupted_files=bad)
        outcomes = result.outcomes if result else ()
        self.event(
            run,
            Reply(Phase.STAGING_IN, failure),
            facts,
            lambda: self.means.store.put_outcomes(run.key, outcomes),
        )

    def put_back(self, run: Run) -> None:
        """Have a job without room give its inputs up and wait; `on_back` hears of it when they are gone."""
        run.put_back = True
        if run.parked:
            run.parked = False
            self._give_up_inputs(run)
        else:
            run.cancel.set()

    def _has_to_wait(self, run: Run, failure: Failure) -> bool:
        """Whether stage-in failed for want of disk beside the jobs that run: no fault of a job that was only ahead."""
        given_up = run.put_back and run.cancel.is_set()
        return not run.job.stopping and (given_up or (run.grant is None and failure.code == NoLocalSpace.code))

    def _give_up_inputs(self, run: Run) -> None:
        def gone(_: Run, __: None, ___: PilotError | None) -> None:
            self._on_back(run)
            self._on_room()

        run.put_back, run.cancel = True, Cancel()
        self.work(run, partial(jobdir.clear_for_rerun, run.directory), gone)

    # payload

    def ready(self, run: Run) -> None:
        """Let a job whose inputs are here run, or wait for its part of the node."""
        if run.grant is None and not run.job.stopping:
            run.parked = True
            self._on_room()
        else:
            self.payloads.start(run)

    def go(self, run: Run) -> None:
        """Let a job whose inputs are here, and that has got its part of the node now, run."""
        run.parked = False
        self.payloads.start(run)

    def abandon(self, run: Run) -> None:
        """Interrupt what is being done for the job now; its reply will come."""
        if run.parked:
            run.parked = False
            self.event(run, Reply(Phase.RUNNING))
        elif run.child is not None and run.job.phase is Phase.RUNNING:
            self.events.save(run)
            payload.end(self.means, run)
        else:
            run.cancel.set()

    # stage-out, report, end

    def _staged_out(self, run: Run, result: stagework.StagedOut | None, error: PilotError | None) -> None:
        failure = error.failure() if error else result.failure if result else None
        facts = timed(run, "stageout")
        if result is not None:
            facts = stagework.with_staged_out(facts, result)
        outcomes = result.outcomes if result else ()
        guids = {f.lfn: f.guid for f in result.stored} if result else {}
        self.event(
            run,
            Reply(Phase.STAGING_OUT, failure),
            facts,
            lambda: self.means.store.put_outcomes(run.key, outcomes, guids),
        )

    def _end(self, run: Run) -> None:
        def cleaned() -> None:
            self.cleaning -= 1
            self._on_room()

        ending.let_go(run)
        self.cleaning += 1
        ending.clean_up_aside(self.means, self.reserve, run, cleaned)
        self.active.pop(run.key, None)
        self._on_end(run)

    # room

    def _give_room_back(self, run: Run) -> None:
        if run.grant is not None:
            run.grant = None
            self.means.slots.release(run.key)
            self._on_room()
