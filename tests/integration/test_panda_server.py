"""The client and the embedded server, which were written from the same description by different hands."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from pilot.core.definition import parse
from pilot.core.errors import GetAdMismatch
from pilot.core.ranges import Chunk, Consumer, RangeStatus, RangeUpdate
from pilot.core.update import JobUpdate, Node, State, StoredFile
from pilot.core.usage import Usage
from pilot.plugins.sources.base import Capacity
from pilot.plugins.sources.panda import PandaSource
from pilot.plugins.sources.panda_settings import DialectName, PandaSettings
from pilot.server.launch import RunningServer, running_server

DIALECTS = [DialectName.V1, DialectName.CLASSIC]
USAGE = Usage(wall_s=10, user_s=9.5, max_rss_kb=1000, avg_pss_kb=400, rchar=10**6, wchar=5, read_bytes=7, write_bytes=8)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with running_server(tmp_path_factory.mktemp("server") / "jobs.db") as running:
        yield running


@pytest.fixture(params=DIALECTS)
def panda(server: RunningServer, request: pytest.FixtureRequest) -> Iterator[PandaSource]:
    node = Node(host="wn", queue="SITE", pilot_id="unknown|PR|1", cpu_unit="s+CPU", cpu_level="x86-64-v3", grid="g")
    source = PandaSource(PandaSettings(url=server.url, queue="SITE", node=node, dialect=request.param))
    yield source
    source.close()


def submit(server: RunningServer, *specs: dict[str, Any]) -> list[int]:
    base = {
        "computingSite": "SITE",
        "transformation": "/bin/true",
        "jobPars": "",
        "outFiles": "o,l.tgz",
        "logFile": "l.tgz",
    }
    answer = requests.post(f"{server.url}/submit", json=[base | spec for spec in specs], timeout=5)
    assert answer.status_code == 200, answer.text
    return [job["PandaID"] for job in answer.json()["jobs"]]


def job_of(server: RunningServer, number: int) -> dict[str, Any]:
    return dict(requests.get(f"{server.url}/jobs/{number}", timeout=5).json())


def final(number: int, attempt: int, state: State = State.FINISHED, **more: Any) -> JobUpdate:
    report = tuple(
        StoredFile(lfn, f"guid-{lfn}", 3, {"adler32": "0a1b2c3d"}, f"file:///{lfn}") for lfn in ("o", "l.tgz")
    )
    facts: dict[str, Any] = {
        "started": 1_699_999_000.0,
        "ended": 1_700_000_000.0,
        "cores": 1,
        "mean_cores": 0.95,
        "events": 100,
        "usage": USAGE,
        "metrics": {"nEvents": "100"},
        "metadata": {"files": {}},
        "timing_s": {"payload": 10.0},
        "report": report,
        "payload_exit": 0,
        "workdir": "/w",
        "log_excerpt": "log",
    }
    return JobUpdate(number, attempt, state, 1_700_000_000.0, **(facts | more))


def test_a_job_goes_its_way_and_no_field_is_refused(server: RunningServer, panda: PandaSource) -> None:
    (number,) = submit(server, {"coreCount": 2})
    (raw,) = panda.acquire(Capacity(jobs=1, cores=2, memory_mb=4000, disk_mb=10_000, seconds_left=3600)).jobs
    job = parse(raw)
    assert (job.job_id, job.cores) == (number, 2)
    for state in (State.STARTING, State.RUNNING):
        (answer,) = panda.report([JobUpdate(number, job.attempt, state, 1.0, usage=USAGE, stdout="é\n")])
        assert (answer.accepted, answer.commands) == (True, ())
    assert panda.status([number, 10**9]) == {number: "running"}
    assert panda.report([final(number, job.attempt)])[0].accepted
    again = panda.report([final(number, job.attempt)])[0]
    assert again.accepted and [c.word for c in again.commands] == ["alreadydone"]
    end = job_of(server, number)
    assert end["state"] == "finished" and end["facts"]["n_events"] == 100
    assert end["facts"]["rate_rchar"] == 97, "kB/s, whichever dialect told it"


def test_several_jobs_are_taken_and_told_of_at_once(server: RunningServer, panda: PandaSource) -> None:
    numbers = submit(server, {}, {}, {})
    jobs = [parse(raw) for raw in panda.acquire(Capacity(jobs=3)).jobs]
    assert [job.job_id for job in jobs] == numbers
    answers = panda.report([final(job.job_id, job.attempt) for job in jobs])
    assert [answer.accepted for answer in answers] == [True] * 3
    assert {job_of(server, number)["state"] for number in numbers} == {"finished"}


def test_a_failure_arrives_with_its_number_and_words(server: RunningServer, panda: PandaSource) -> None:
    (number,) = submit(server, {})
    job = parse(panda.acquire(Capacity(jobs=1)).jobs[0])
    error = GetAdMismatch("in.root: expected 0a1b2c3d, found ffffffff").failure()
    panda.report([final(number, job.attempt, State.FAILED, error=error, payload_exit=3, payload_error=(7, "bad"))])
    end = job_of(server, number)
    assert end["state"] == "failed"
    assert (end["facts"]["pilot_error_code"], end["facts"]["trans_exit_code"]) == (1171, 3)
    assert "expected 0a1b2c3d" in end["facts"]["pilot_error_diag"]


def test_a_kill_reaches_the_pilot(server: RunningServer, panda: PandaSource) -> None:
    (number,) = submit(server, {})
    job = parse(panda.acquire(Capacity(jobs=1)).jobs[0])
    panda.report([JobUpdate(number, job.attempt, State.RUNNING, 1.0)])
    requests.post(f"{server.url}/jobs/{number}/kill", timeout=5)
    (answer,) = panda.report([JobUpdate(number, job.attempt, State.RUNNING, 2.0)])
    assert [command.word for command in answer.commands] == ["tobekilled"]


def test_event_ranges_are_taken_told_and_known(server: RunningServer, panda: PandaSource) -> None:
    spec = {
        "eventService": "True",
        "nEvents": 20,
        "nEventsPerRange": 10,
        "inFiles": "f.root",
        "GUID": "g",
        "fsize": "1",
    }
    submit(server, spec)
    job = parse(panda.acquire(Capacity(jobs=1)).jobs[0])
    assert job.event_service
    consumer = Consumer(job.job_id, job.task_id or 0, job.jobset_id or 0)
    panda.report([JobUpdate(job.job_id, job.attempt, State.RUNNING, 1.0)])
    assert panda.events.count(consumer) == 2
    ranges = panda.events.acquire(consumer, 5)
    assert len(ranges.ranges) == 2 and ranges.exhausted
    updates = tuple(RangeUpdate(r.id, RangeStatus.FINISHED, cores=1, cpu_s=1.5) for r in ranges.ranges)
    assert panda.events.update(consumer, [Chunk(updates)], version=0).stored == (True, True)
    if panda.tongue.dialect(panda._ask).name is DialectName.V1:
        assert {known.status for known in panda.events.states(consumer).values()} <= {"finished", "done"}


def test_the_dialect_is_found_out(tmp_path: Path) -> None:
    for dialect in DIALECTS:
        with running_server(tmp_path / f"{dialect}.db", str(dialect)) as running:
            submit(running, {})
            source = PandaSource(PandaSettings(url=running.url, queue="SITE"))
            assert len(source.acquire(Capacity(jobs=1)).jobs) == 1
            assert source.tongue.dialect(source._ask).name is dialect
            source.close()
