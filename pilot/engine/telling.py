"""What the server hears of a job: heartbeats at intervals, and everything that goes into an update."""

from __future__ import annotations

import contextlib
import time
from typing import Any

import msgspec

from pilot.core.facts import Facts
from pilot.core.lifecycle import Job, Phase
from pilot.core.update import JobUpdate
from pilot.engine import records, steering
from pilot.engine.means import Means, Run
from pilot.engine.reporter import Reporter
from pilot.engine.reserve import Reserve
from pilot.engine.told import update_of
from pilot.lib.files import write_atomically


class Telling:
    """Lives in the loop's thread."""

    def __init__(self, means: Means, reserve: Reserve, reporter: Reporter) -> None:
        self._means, self._reserve, self._reporter = means, reserve, reporter

    def later(self, run: Run, first: float | None = None) -> None:
        """Send a heartbeat after the job's interval, the first one no later than `first` s from now."""
        settings = self._means.settings
        period = settings.debug_heartbeat if run.facts.debug else settings.heartbeat
        wait = period if first is None else min(first, period)
        run.set_timer("heartbeat", self._means.loop.after(wait, lambda: self.beat(run)))

    def beat(self, run: Run) -> None:
        """Send a heartbeat now, unless the final report is on its way already."""
        if run.job.phase in (Phase.REPORTING, Phase.DONE):
            return
        update = self.update(run, run.job, run.facts)
        if self._reserve.write_or(
            lambda: self._means.store.put_message(update, self._reporter.in_flight), lambda: self.beat(run)
        ):
            self._reporter.poke()
            self.later(run)

    def note(self, run: Run, job: Job, facts: Facts) -> None:
        """Put an update into the outbox, as part of the transaction that the caller is in."""
        self._means.store.put_message(self.update(run, job, facts), self._reporter.in_flight)

    def update(self, run: Run, job: Job, facts: Facts) -> JobUpdate:
        """All that can be said of the job now, without secrets; it is also left in `heartbeat.json`."""
        metadata = self._metadata(run) if job.phase is Phase.REPORTING else None
        if job.phase is Phase.RUNNING and (usage := self._means.monitor.so_far(run.key)) is not None:
            facts = msgspec.structs.replace(facts, usage=usage)
        stdout, run.stdout = run.stdout, ""
        if not stdout and facts.debug and job.phase is Phase.RUNNING:
            stdout = self._means.disk.do(run.key, lambda: steering.debug_text(run), "")
        update = update_of(
            run.definition, job, facts, time.time(), directory=run.directory, metadata=metadata, stdout=stdout
        )
        update = self._means.redactor.clean(update)
        with contextlib.suppress(OSError):
            brief = msgspec.structs.replace(update, metadata=None)
            text = msgspec.json.encode(brief).decode() + "\n"
            self._means.disk.wrote(run.key, lambda: write_atomically(run.directory / "heartbeat.json", text))
        return update

    def _metadata(self, run: Run) -> dict[str, Any]:
        """The payload's job report, and the node it ran on."""
        node, gpus = self._means.here.maps()
        path = run.directory / "jobReport.json"
        report = self._means.disk.do(run.key, lambda: records.read_json_object(path), None) or {}
        node |= {name: float(score) for name, score in self._means.here.metrics.items()}
        return {**report, "worker_node": node, **({"worker_node_gpus": gpus} if gpus else {})}
