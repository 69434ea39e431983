"""A source in memory for tests, with knobs for everything that a server may do wrong."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

from pilot.core.errors import PilotError
from pilot.core.update import Answer, Command, JobUpdate
from pilot.plugins.sources.base import Acquired, Capacity
from pilot.plugins.sources.events import EventSource


class DummySource:
    """Gives the jobs it was made with and remembers all it was told.

    Knobs, each used up in order: `acquire_faults` and `report_faults` are raised instead of an answer (None: no
    fault this time); `answers` are given in place of the usual ones; `commands` are sent, by job id, with the next
    answer. `lose_answers` n: the next n reports are kept but their answer is lost. `endless`: never `finished`.
    Like a server it accepts one final word for each attempt; later ones are answered `alreadydone`.
    """

    events: EventSource | None = None

    def __init__(self, jobs: Iterable[dict[str, Any]] = (), *, endless: bool = False) -> None:
        self.jobs: deque[dict[str, Any]] = deque(jobs)
        self.endless = endless
        self.acquire_faults: deque[PilotError | None] = deque()
        self.report_faults: deque[PilotError | None] = deque()
        self.answers: deque[Answer] = deque()
        self.commands: dict[int, deque[Command]] = {}
        self.lose_answers: deque[PilotError] = deque()
        self.told: list[JobUpdate] = []
        self.final: dict[str, JobUpdate] = {}
        self.capacities: list[Capacity] = []
        self.closed = False
        self.news = threading.Condition()

    def acquire(self, capacity: Capacity) -> Acquired:
        """The next jobs."""
        self.capacities.append(capacity)
        if self.acquire_faults and (fault := self.acquire_faults.popleft()):
            raise fault
        given = tuple(self.jobs.popleft() for _ in range(min(max(0, capacity.jobs), len(self.jobs))))
        return Acquired(given, finished=not self.jobs and not self.endless)

    def report(self, updates: Sequence[JobUpdate]) -> Sequence[Answer]:
        """Remember the updates; tests wait on `news` for them."""
        if self.report_faults and (fault := self.report_faults.popleft()):
            raise fault
        with self.news:
            answers = [self._answer(update) for update in updates]
            self.news.notify_all()
        if self.lose_answers:
            raise self.lose_answers.popleft()
        return answers

    def _answer(self, update: JobUpdate) -> Answer:
        self.told.append(update)
        if self.answers:
            return self.answers.popleft()
        if update.key in self.final:
            return Answer(True, commands=(Command("alreadydone"),))
        if update.state.final:
            self.final[update.key] = update
        waiting = self.commands.get(update.job_id)
        return Answer(True, commands=(waiting.popleft(),) if waiting else ())

    def status(self, job_ids: Sequence[int]) -> dict[int, str]:
        """The last word on each job that was told of, or `sent` for one that was given only."""
        words = {update.job_id: str(update.state) for update in self.told}
        words |= {update.job_id: str(update.state) for update in self.final.values()}
        return {number: words[number] for number in job_ids if number in words}

    def worker(self, word: str, node: dict[str, Any] | None, gpus: Sequence[dict[str, Any]]) -> None:
        """There is nobody to be told."""

    def close(self) -> None:
        """Remember that it was closed."""
        self.closed = True
