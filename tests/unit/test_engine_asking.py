"""Asking for jobs: how often, how long in vain, and when to stop."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from pilot.core.errors import CommunicationFailure, PilotError, RequestRefused
from pilot.core.settings import Settings
from pilot.engine.asking import Asking
from pilot.lib.loop import Loop
from pilot.plugins.sources.base import Acquired, Capacity

NOTHING, JOB = Acquired(), Acquired(({"PandaID": 1},))


class Bench:
    """Asks again whenever it may, until it may not for good; rests pass at once."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.answers: deque[Acquired | PilotError] = deque()
        self.jobs: list[dict[str, Any]] = []
        self.asked = 0
        self.busy = False
        self.rests: list[float] = []
        after = self.loop.after
        after(10.0, lambda: pytest.fail("it did not end"))

        def at_once(seconds: float, callback: Any) -> Any:
            self.rests.append(seconds)
            return after(0.0, callback)

        self.loop.after = at_once  # type: ignore[method-assign]

    def run(self, *answers: Acquired | PilotError, **settings: Any) -> Asking:
        self.answers.extend(answers)
        means: Any = SimpleNamespace(source=self, loop=self.loop, settings=Settings(**settings), resource_types={})
        self.asking = Asking(means, lambda: self.busy, self.heard, self.again)
        self.loop.post(self.again)
        self.loop.run()
        self.asking.close()
        return self.asking

    def acquire(self, capacity: Capacity) -> Acquired:
        self.asked += 1
        answer = self.answers.popleft()
        if isinstance(answer, PilotError):
            raise answer
        return answer

    def heard(self, jobs: tuple[dict[str, Any], ...]) -> None:
        self.jobs += jobs
        self.again()

    def again(self) -> None:
        if self.asking.finished or not self.answers:
            self.loop.stop()
        elif self.asking.may_ask:
            self.asking.ask(Capacity(1))


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.loop.close()


def test_it_ends_after_so_many_empty_answers_in_a_row(bench: Bench) -> None:
    asking = bench.run(NOTHING, JOB, NOTHING, NOTHING, JOB, getjob_requests=2)
    assert (bench.asked, len(bench.jobs), asking.exit_code) == (4, 1, 0)


def test_a_request_that_stands_is_no_empty_answer_and_is_looked_at_again_at_once(bench: Bench) -> None:
    stands = Acquired(pending=True)
    bench.run(stands, stands, stands, JOB, Acquired(finished=True), getjob_requests=1)
    assert len(bench.jobs) == 1
    assert bench.rests == []


def test_a_used_up_source_is_not_asked_again(bench: Bench) -> None:
    bench.run(Acquired(({"PandaID": 1},), finished=True), JOB)
    assert (bench.asked, len(bench.jobs)) == (1, 1)


def test_a_server_that_is_away_is_asked_less_and_less_often_and_then_given_up(bench: Bench) -> None:
    asking = bench.run(*[CommunicationFailure("away")] * 5, getjob_failures=4)
    assert bench.asked == 4
    assert asking.exit_code == 79
    assert bench.rests == sorted(bench.rests) and 0.8 <= bench.rests[0] <= 1.0 and 3.2 <= bench.rests[2] <= 4.0


def test_who_has_work_under_way_does_not_give_a_server_up(bench: Bench) -> None:
    bench.busy = True
    bench.run(*[CommunicationFailure("away")] * 6, JOB, getjob_failures=2)
    assert len(bench.jobs) == 1


def test_a_refusal_ends_the_asking_at_once(bench: Bench) -> None:
    asking = bench.run(RequestRefused("no such queue"), JOB)
    assert (bench.asked, asking.exit_code) == (1, 79)
