"""What the job's way does for event service jobs and clones: before the payload, at its end, and on orders."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import msgspec

from pilot.core.errors import Failure, NoEvents, NotImplementedHere, OutcomesNotStored, PandaKill, PilotError
from pilot.core.job import JobDefinition
from pilot.core.lifecycle import Phase
from pilot.db.ranges import outputs_at_risk
from pilot.engine.clones import lost
from pilot.engine.means import CHORES, Means, Run
from pilot.staging.plan import local_name

if TYPE_CHECKING:
    from pilot.engine.eventservice.service import EventService, Opened, Order
    from pilot.runtime.eventplan import Summary

_log = logging.getLogger("pilot.events")
Then = Callable[[Failure | None], None]


def works_on_events(definition: JobDefinition) -> bool:
    """Whether the payload of this job works through event ranges."""
    return definition.event_service and not definition.event_merge


class EventWork:
    """The engine's side of the event service. Everything here happens in the main thread.

    `active` are the jobs under way by key, `stop` has one end early.
    """

    def __init__(self, means: Means, active: Mapping[str, Run], stop: Callable[[Run, Failure], None]) -> None:
        self._means, self._active, self._stop = means, active, stop
        self._service: EventService | None = None
        self._prepared: set[str] = set()
        self._end_at = time.monotonic() + means.settings.lifetime

    # before the payload

    def is_prepared(self, run: Run) -> bool:
        """Whether the payload may be started; if not, `prepare` sees to it."""
        return run.key in self._prepared or not (works_on_events(run.definition) or run.definition.clone)

    def prepare(self, run: Run, then: Then) -> None:
        """Ask whether there is still work for the job, open what it needs; `then` gets the reason if there is none."""
        if works_on_events(run.definition):
            self._open(run, then)
        else:
            self._look(run, then)

    def _open(self, run: Run, then: Then) -> None:
        def opened(result: Opened | None, error: PilotError | None) -> None:
            if result is not None:
                run.variables = {**result.variables, "PYTHONPATH": result.python_path}
                self._prepared.add(run.key)
            then(error.failure() if error else None)

        try:
            self._the_service().open(self._order(run), opened)
        except PilotError as error:
            then(error.failure())

    def _look(self, run: Run, then: Then) -> None:
        """A copy of a job that another copy has done, or does, is not worth starting."""

        def done(failure: Failure | None, error: PilotError | None) -> None:
            self._prepared.add(run.key)
            if error is not None:
                _log.warning("%s: the server was not asked whether another copy runs: %s", run.key, error)
            self._means.loop.post(lambda: then(failure))

        self._means.staging.submit(CHORES, lambda: lost(self._means.source.events, run.definition), done)

    # beside the payload

    def drain(self, run: Run) -> None:
        """Workers get no more ranges; when they are done, the payload ends by itself."""
        if self._service is not None and works_on_events(run.definition):
            run.log.info("the job is to end: its workers get no more event ranges")
            self._service.drain(run.key)

    def save(self, run: Run) -> None:
        """The payload is about to be ended: what it has done so far is stored and told first."""
        if self._service is not None and works_on_events(run.definition):
            self._service.drain(run.key)
            self._service.flush(run.key)

    # after the payload

    def verdict(self, run: Run) -> Failure | None:
        """What is wrong with a payload that ended well: it never got anything to do, or did not do it.

        Of a jumbo job there may be nothing left when its last workers begin: the others have done it all.
        """
        if self._service is None or not works_on_events(run.definition):
            return None
        error = self._service.verdict(run.key)
        if isinstance(error, NoEvents) and run.definition.jumbo:
            run.log.info("other workers of this job have taken all its event ranges")
            return None
        return error.failure() if error else None

    def kept(self, run: Run) -> frozenset[str]:
        """The names in the job's directory that a payload which runs again must find: what it has done already."""
        if not works_on_events(run.definition):
            return frozenset()
        from pilot.engine.eventservice.service import FOLDER

        directory = str(run.directory)
        outputs = outputs_at_risk(self._means.store.path, run.key)
        return frozenset(
            {FOLDER, *(p[len(directory) + 1 :].split("/")[0] for p in outputs if p.startswith(f"{directory}/"))}
        )

    def finish(self, run: Run, then: Then) -> None:
        """Store and tell everything that was done, and call `then`: at once for other jobs, else when the server has
        it all, which may take as long as the server is away; with the reason if it never stores it."""
        if not works_on_events(run.definition) or self._means.source.events is None:
            then(None)
            return

        def finished(summary: Summary | None, error: PilotError | None) -> None:
            if summary is not None:
                run.log.info(
                    f"event ranges: {summary.finished} finished, {summary.failed} failed, {summary.returned} given back"
                )
                metrics = {**run.facts.metrics, "nEventsW": str(summary.events)}
                run.facts = msgspec.structs.replace(run.facts, events=summary.events, metrics=metrics)
            if error is not None:
                run.log.error(f"event ranges: {error}")
            self._prepared.discard(run.key)
            then(error.failure() if isinstance(error, OutcomesNotStored) else None)

        self._the_service().finish(self._order(run), finished)

    def close(self) -> None:
        """Leave everything to the PilotDB."""
        if self._service is not None:
            self._service.close()

    # inside

    def _the_service(self) -> EventService:
        """The service, started with the first job that needs it. Raises `NotImplementedHere` without event source."""
        means = self._means
        if self._service is None:
            from pilot.engine.eventservice.service import EventService

            if means.source.events is None:
                raise NotImplementedHere("this source of jobs has no event ranges")
            self._service = EventService(
                means.source.events,
                means.transferer,
                means.store.path,
                means.loop.post,
                self._commanded,
                lambda key, error: self._stop_job(key, error.failure()),
            )
        return self._service

    def _inside(self, run: Run) -> str:
        """The job's directory as its payload will see it: in a container it may have another name."""
        queue = self._means.queue_for(run.definition)
        try:
            box = self._means.boxes.box_of(run.definition, queue, run.key, str(run.directory), "", run.grant)
        except PilotError:
            box = None  # the start of the payload fails for that reason, and says so
        return box.request.work_inside if box else str(run.directory)

    def _commanded(self, key: str, word: str) -> None:
        if word == "softkill" and self._service is not None:
            self._service.drain(key)
        elif word == "tobekilled":
            self._stop_job(key, PandaKill("the server asked for it").failure())

    def _stop_job(self, key: str, failure: Failure) -> None:
        run = self._active.get(key)
        if run is not None and (run.job.phase is Phase.RUNNING or failure.code != OutcomesNotStored.code):
            self._stop(run, failure)  # after the payload `finish` tells why the server does not know everything

    def _order(self, run: Run) -> Order:
        from pilot.engine.eventservice.service import Order

        definition = run.definition
        inside = self._inside(run)
        paths = {}
        for item in definition.inputs:
            local = run.directory / local_name(item)
            paths[item.lfn] = f"{inside}/{local_name(item)}" if local.exists() else item.path or item.lfn
        ends = [self._end_at]
        if self._means.here.ends_at is not None:
            ends.append(time.monotonic() + self._means.here.ends_at - time.time())
        if definition.max_wall_s:
            ends.append(time.monotonic() + definition.max_wall_s)
        workers = run.grant.cores if run.grant else definition.cores
        site = self._means.site_for(definition)
        gap_s = float(self._means.queue_for(definition).zip_gap_s)
        tries = self._means.settings.event_tell_tries
        return Order(definition, str(run.directory), site, inside, paths, workers, gap_s, tries, min(ends))
