"""The outbox: nothing that matters is lost, nothing is said twice that was heard, a server in trouble gets a rest."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from pilot.core.errors import CommunicationFailure, RequestRefused
from pilot.core.facts import Facts
from pilot.core.job import JobDefinition
from pilot.core.lifecycle import Job
from pilot.core.update import Answer, JobUpdate, State
from pilot.db.fake import ChaosStore
from pilot.engine.reporter import Reporter
from pilot.engine.reserve import Reserve
from pilot.lib.loop import Loop
from pilot.plugins.sources.dummy import DummySource


class Bench:
    """A reporter between a store in memory and a source with knobs; waits between tries pass at once."""

    def __init__(self, folder: Path, source: DummySource) -> None:
        self.store, self.source, self.loop = ChaosStore(), source, Loop()
        self.waits: list[float] = []
        self.answers: list[tuple[str, bool]] = []
        after = self.loop.after

        def at_once(seconds: float, callback: Callable[[], None]) -> object:
            self.waits.append(seconds)
            return after(0.0, callback)

        self.reporter = Reporter(self.store, source, self.loop, Reserve(folder, self.loop, 1.0), self._answered)
        self.loop.after = at_once  # type: ignore[method-assign,assignment]
        after(10.0, lambda: pytest.fail(f"not delivered: {self.store.open_messages()}"))

    def _answered(self, update: JobUpdate, answer: Answer) -> None:
        self.answers.append((str(update.state), answer.accepted))

    def put(self, state: State, number: int = 1) -> None:
        if not self.store.knows(f"{number}.1"):
            job = JobDefinition(job_id=number, attempt=1)
            self.store.add_job(job, Job(job.key), Facts(), "", 1)
        self.store.put_message(JobUpdate(number, 1, state, 1.0), self.reporter.in_flight)

    def deliver(self, until: Callable[[], bool] | None = None) -> None:
        """Run until nothing is open (or until something is so)."""
        done = until or (lambda: not self.store.open_messages() and not self.reporter.in_flight)

        def look() -> None:
            if done():
                self.loop.stop()
            else:
                self.loop.post(look)

        self.loop.post(look)
        self.reporter.poke()
        self.loop.run()

    def told(self) -> list[tuple[int, str]]:
        return [(update.job_id, str(update.state)) for update in self.source.told]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path, DummySource())
    yield made
    made.reporter.close(2.0)
    made.loop.close()
    made.store.close()


def test_of_a_jobs_messages_only_the_newest_is_sent(bench: Bench) -> None:
    for state in (State.STARTING, State.RUNNING, State.FINISHED):
        bench.put(state)
    bench.deliver()
    assert bench.told() == [(1, "finished")]


def test_messages_of_several_jobs_go_in_one_request(bench: Bench) -> None:
    requests: list[int] = []
    report = bench.source.report
    bench.source.report = lambda updates: (requests.append(len(updates)), report(updates))[1]  # type: ignore[method-assign,func-returns-value]
    for number in range(5):
        bench.put(State.RUNNING, number + 1)
    bench.deliver()
    assert requests == [5]


def test_what_comes_after_the_final_report_is_not_sent(bench: Bench) -> None:
    bench.put(State.FINISHED)
    bench.put(State.RUNNING)
    bench.deliver()
    assert bench.told() == [(1, "finished")]


def test_waits_grow_and_begin_anew_after_a_success(bench: Bench) -> None:
    bench.source.report_faults.extend([CommunicationFailure("away")] * 9)
    bench.put(State.FINISHED)
    bench.deliver()
    assert bench.told() == [(1, "finished")]
    assert len(bench.waits) == 9
    for wait, longest in zip(bench.waits, (1, 2, 4, 8, 16, 32, 64, 120, 120), strict=True):
        assert longest / 2 <= wait <= longest
    bench.source.report_faults.append(CommunicationFailure("away"))
    bench.put(State.FINISHED, 2)
    bench.loop._stopped = False
    bench.deliver()
    assert bench.waits[-1] <= 1.0


def test_an_answer_for_too_few_updates_counts_for_none(bench: Bench) -> None:
    report = bench.source.report
    calls: list[int] = []

    def short(updates: Sequence[JobUpdate]) -> Sequence[Answer]:
        calls.append(len(updates))
        return report(updates)[: 1 if len(calls) == 1 else None]

    bench.source.report = short  # type: ignore[method-assign,assignment]
    bench.put(State.FINISHED, 1)
    bench.put(State.FINISHED, 2)
    bench.deliver()
    assert calls == [2, 2]
    assert bench.answers == [("finished", True)] * 2


def test_a_lost_answer_is_asked_for_again_and_the_job_ends_once(bench: Bench) -> None:
    bench.source.lose_answers.append(CommunicationFailure("the connection broke"))
    bench.put(State.FINISHED)
    bench.deliver()
    assert bench.told() == [(1, "finished")] * 2
    assert bench.answers == [("finished", True)]


def test_a_refusal_for_good_is_heard_once_and_not_repeated(bench: Bench) -> None:
    bench.source.answers.append(Answer(False, why="no such field"))
    bench.put(State.FINISHED)
    bench.deliver()
    assert bench.told() == [(1, "finished")]
    assert bench.answers == [("finished", False)]
    assert bench.store.final_answered("1.1")


def test_one_refused_update_does_not_hold_up_the_others(bench: Bench) -> None:
    bench.source.answers.extend([Answer(False, retry=True, why="later"), Answer(True)])
    bench.put(State.FINISHED, 1)
    bench.put(State.FINISHED, 2)
    bench.deliver()
    assert bench.told() == [(1, "finished"), (2, "finished"), (1, "finished")]


def test_an_error_that_is_not_worth_a_retry_does_not_lose_the_report_either(bench: Bench) -> None:
    bench.source.report_faults.append(RequestRefused("the token has run out"))
    bench.put(State.FINISHED)
    bench.deliver()
    assert bench.told() == [(1, "finished")]


def test_an_answer_that_cannot_be_noted_is_noted_later_without_asking_again(bench: Bench) -> None:
    bench.put(State.FINISHED)
    first = bench.store.commits
    bench.store.full = lambda number: first + 1 < number <= first + 4
    bench.deliver()
    assert bench.told() == [(1, "finished")]
    assert bench.answers == [("finished", True)]


def test_nothing_is_sent_while_a_request_is_under_way(bench: Bench) -> None:
    running, go = threading.Event(), threading.Event()
    report = bench.source.report
    overlaps: list[bool] = []

    def slow(updates: Sequence[JobUpdate]) -> Sequence[Answer]:
        overlaps.append(running.is_set())
        running.set()
        go.wait(5)
        running.clear()
        return report(updates)

    bench.source.report = slow  # type: ignore[method-assign,assignment]
    bench.put(State.STARTING)
    bench.reporter.poke()
    assert running.wait(5)
    bench.put(State.RUNNING)
    bench.reporter.poke()
    bench.reporter.hasten()
    go.set()
    bench.deliver()
    assert bench.told() == [(1, "starting"), (1, "running")]
    assert overlaps == [False, False]
