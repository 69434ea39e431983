"""What every source of jobs does, whatever stands behind it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from pilot.core.definition import parse
from pilot.core.update import JobUpdate, Node, State
from pilot.plugins.sources.base import Capacity, Source
from pilot.plugins.sources.dummy import DummySource
from pilot.plugins.sources.local import LocalSource
from pilot.plugins.sources.panda import PandaSource
from pilot.plugins.sources.panda_settings import DialectName, PandaSettings
from pilot.plugins.sources.registry import SOURCES
from pilot.plugins.sources.untold import UntoldSource
from tests.panda_script import PandaScript
from tests.scripted_server import Server

Jobs = list[dict[str, Any]]
Make = Callable[[Jobs, Path, ExitStack], Source]


def _panda(dialect: DialectName, flat: bool = False) -> Make:
    def make(jobs: Jobs, folder: Path, stack: ExitStack) -> Source:
        script = PandaScript(dialect, jobs, flat)
        stack.callback(Server(script).close)
        return PandaSource(PandaSettings(url=script.url, queue="Q", node=Node(host="h", queue="Q")))

    return make


def _local(jobs: Jobs, folder: Path, stack: ExitStack) -> Source:
    (folder / "jobs.json").write_text(json.dumps(jobs))
    return LocalSource([folder / "jobs.json"], folder / "reports.jsonl")


def _dummy(jobs: Jobs, folder: Path, stack: ExitStack) -> Source:
    return DummySource(jobs)


def _untold(jobs: Jobs, folder: Path, stack: ExitStack) -> Source:
    return UntoldSource(DummySource(jobs))


#: How to make one of each kind; a kind that is proved elsewhere by the same functions names the place.
MAKERS: dict[str, list[tuple[str, Make]]] = {
    "panda": [
        ("panda-v1", _panda(DialectName.V1)),
        ("panda-classic-json", _panda(DialectName.CLASSIC)),
        ("panda-classic-flat", _panda(DialectName.CLASSIC, flat=True)),
    ],
    "local": [("local", _local)],
    "dummy": [("dummy", _dummy), ("untold", _untold)],
}
CASES = [pytest.param(make, id=name) for makers in MAKERS.values() for name, make in makers]
#: Registered sources whose contract tests stand beside their own fakes.
ELSEWHERE = {"harvester"}


@pytest.fixture(params=CASES)
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[Jobs], Source]]:
    """Makes a source over some jobs and closes it in the end."""
    with ExitStack() as stack:

        def made(jobs: Jobs) -> Source:
            source: Source = request.param(jobs, tmp_path, stack)
            stack.callback(source.close)
            return source

        yield made


def jobs(count: int) -> Jobs:
    """Descriptions with numbers from 101."""
    return [{"PandaID": 101 + n, "attemptNr": 1, "transformation": "/bin/true", "jobPars": ""} for n in range(count)]


def update(number: int, state: State) -> JobUpdate:
    return JobUpdate(number, 1, state, 1_700_000_000.0)


def test_every_registered_source_is_proved_here() -> None:
    assert set(SOURCES.names()) - ELSEWHERE <= set(MAKERS)


def test_jobs_are_given_once_and_never_more_than_there_is_room_for(make: Callable[[Jobs], Source]) -> None:
    source = make(jobs(3))
    first, second = source.acquire(Capacity(jobs=2)), source.acquire(Capacity(jobs=2))
    assert [parse(job).job_id for job in first.jobs] == [101, 102]
    assert [parse(job).job_id for job in second.jobs] == [103]
    assert source.acquire(Capacity(jobs=1)).jobs == ()


def test_one_job_is_given_when_there_is_room_for_one(make: Callable[[Jobs], Source]) -> None:
    source = make(jobs(2))
    assert [parse(job).job_id for job in source.acquire(Capacity(jobs=1)).jobs] == [101]


def test_no_job_is_an_answer_and_no_error(make: Callable[[Jobs], Source]) -> None:
    assert make([]).acquire(Capacity(jobs=4)).jobs == ()


def test_every_update_has_its_answer_in_order(make: Callable[[Jobs], Source]) -> None:
    source = make(jobs(3))
    source.acquire(Capacity(jobs=3))
    answers = source.report([update(n, State.RUNNING) for n in (101, 102, 103)])
    assert [answer.accepted for answer in answers] == [True, True, True]
    assert source.status([101, 102, 103]) == {101: "running", 102: "running", 103: "running"}


def test_a_final_word_may_be_said_again(make: Callable[[Jobs], Source]) -> None:
    source = make(jobs(1))
    source.acquire(Capacity(jobs=1))
    for _ in range(2):
        (answer,) = source.report([update(101, State.FINISHED)])
        assert answer.accepted


def test_nothing_to_tell_needs_no_server(make: Callable[[Jobs], Source]) -> None:
    assert list(make([]).report([])) == []


def test_a_job_that_nobody_knows_has_no_status(make: Callable[[Jobs], Source]) -> None:
    source = make(jobs(1))
    source.acquire(Capacity(jobs=1))
    source.report([update(101, State.STARTING)])
    assert source.status([101, 999]) == {101: "starting"}
    assert source.status([]) == {}


def test_closing_twice_is_safe(make: Callable[[Jobs], Source]) -> None:
    source = make([])
    source.close()
    source.close()
