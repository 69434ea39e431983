"""The payload's part of a job's way: what it needs besides its inputs, its start, its end, and its start once more."""

from __future__ import annotations

import time

import msgspec

from pilot.core.errors import Failure, InternalPilotProblem, PilotError
from pilot.core.lifecycle import Phase, Reply
from pilot.engine import jobdir, kept, payload, stagein
from pilot.engine.means import STAGE_IN, Run
from pilot.engine.ring import Ring
from pilot.engine.timing import timed

#: How long what a payload left has to end by itself, and the pilot's own signal to come after its payload's.
_A_MOMENT_S = 0.2


class PayloadWay:
    """Starts payloads and takes up their ends. Everything here happens in the loop's thread."""

    def __init__(self, ring: Ring) -> None:
        self._ring, self._means = ring, ring.means

    def prepared(self, run: Run, failure: Failure | None) -> None:
        """What the payload needs besides its inputs is there, or it is not worth starting."""
        if failure or run.job.stopping:
            self._ring.event(run, Reply(Phase.RUNNING, failure), timed(run, "payload", ended=True))
        else:
            self.start(run)

    def start(self, run: Run) -> None:
        """Start the payload once what it needs besides its inputs is there; the row comes first."""
        if not self._ring.events.is_prepared(run):
            self._ring.events.prepare(run, lambda failure: self.prepared(run, failure))
            return
        if (
            set_up := self._means.environments.missing(run.definition, self._means.queue_for(run.definition))
        ) is not None:
            self._ring.work(run, set_up, lambda _, __, error: self.prepared(run, error.failure() if error else None))
            return
        run.began = time.monotonic()
        before = run.facts
        run.facts = msgspec.structs.replace(before, started=time.time(), runs=before.runs + 1)

        def note() -> None:
            with self._means.store.transaction():
                self._means.store.save(run.job, run.facts, f"payload start {run.facts.runs}")
                payload.announce(self._means, run)
                self._ring.telling.note(run, run.job, run.facts)

        try:
            if not self._ring.reserve.write_or(note, lambda: self.start(run)):
                run.facts = before
                return
            self._ring.reporter.poke()
            payload.start(self._means, run)
        except PilotError as error:
            self._ring.event(run, Reply(Phase.RUNNING, error.failure()), timed(run, "payload", ended=True))
            return
        assert run.child is not None
        self._means.loop.watch(run.child.pidfd, lambda: self._ended(run))
        if run.job.stopping:
            self._ring.abandon(run)

    def _ended(self, run: Run) -> None:
        child = run.child
        if child is None or child.poll() is None:
            return
        self._means.loop.unwatch(child.pidfd)
        run.drop_timer("kill")
        finish = payload.Finish(self._means, run)
        if run.kill_sent:
            self._collect(run, finish)
            return
        if finish.leftovers():
            run.log.error(f"the payload left {len(finish.told)} processes behind: they are ended")
        if finish.told or finish.signalled_from_outside():
            run.set_timer("leftovers", self._means.loop.after(_A_MOMENT_S, lambda: self._collect(run, finish)))
        else:
            self._collect(run, finish)

    def _collect(self, run: Run, finish: payload.Finish) -> None:
        failure, facts = finish.collect()
        failure = failure or self._ring.events.verdict(run)
        facts = timed(run, "payload", ended=True, facts=facts)
        self._ring.event(run, Reply(Phase.RUNNING, failure), facts, lambda: payload.note_end(self._means, run, facts))

    def rerun(self, run: Run) -> None:
        """The payload ran, or waited for room, when an earlier pilot died: see to its inputs and start it afresh, a few
        times."""
        failure: Failure | None = None
        if run.facts.runs > self._means.settings.reruns:
            failure = InternalPilotProblem(f"the pilot died beside this payload {run.facts.runs} times").failure()
        if failure is not None or run.job.error is not None:  # what the payload left is saved, not cleared
            self._ring.event(run, Reply(Phase.RUNNING, failure), timed(run, "payload", ended=True))
            return

        def then(_: Run, result: stagein.StagedIn | None, error: PilotError | None) -> None:
            failure = error.failure() if error else result.failure if result else None
            if failure or run.job.stopping:
                self.prepared(run, failure)
            else:
                self._ring.ready(run)

        def again() -> stagein.StagedIn:
            if run.facts.runs:
                jobdir.clear_for_rerun(run.directory, self._ring.events.kept(run) | kept.input_names(run))
            return stagein.stage_in(self._means, run)

        self._ring.work(run, again, then, STAGE_IN)
