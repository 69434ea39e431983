"""Every call is taken by the handlers of real PanDA servers: names, types, values, in v1 and in the classic dialect."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
import requests

from pilot.core.definition import parse
from pilot.core.errors import PayloadExecutionFailure
from pilot.core.ranges import Archive, Chunk, Consumer, RangeStatus, RangeUpdate
from pilot.core.update import JobUpdate, Node, State, StoredFile
from pilot.core.usage import Usage
from pilot.lib.node import Gpu, read_node, worker_node, worker_node_gpus
from pilot.plugins.sources.base import Capacity
from pilot.plugins.sources.panda import PandaSource
from pilot.plugins.sources.panda_server import PandaServer
from pilot.plugins.sources.panda_settings import DialectName, PandaSettings
from pilot.plugins.sources.panda_worker import PandaWorker

NODE = Node(
    host="wn", site="SITE", queue="SITE", pilot_id="unknown|PR|1", batch_id="7", scheduler_id="harvester-h",
    harvester_id="h", worker_id=5, cpu_unit="s+CPU", cpu_level="x86-64-v3", grid="g", source_site="s",
    destination_site="d",
)  # fmt: skip
USAGE = Usage(wall_s=10.5, user_s=9.25, max_rss_kb=1000, avg_pss_kb=400, rchar=10**6, wchar=5, read_bytes=7)
CONSUMER = Consumer(job_id=101, task_id=7, jobset_id=6)


class Oracle:
    """The server, and what its task buffer was asked."""

    def __init__(self, url: str, dialect: DialectName, new: bool) -> None:
        self.url, self.new = url, new
        self.dialect = dialect
        self.classic = dialect is DialectName.CLASSIC

    def give(self, *jobs: dict[str, Any]) -> None:
        requests.post(f"{self.url}/oracle/jobs", json=jobs, timeout=10)

    def calls(self) -> list[tuple[str, Any]]:
        """The calls since the last question: name, positional and named arguments."""
        return [(name, args) for name, args in requests.get(f"{self.url}/oracle/calls", timeout=10).json()]

    def last(self, name: str) -> Any:
        """The positional arguments of the last call of that name."""
        return [args[0] for called, args in self.calls() if called == name][-1]


@pytest.fixture(scope="module", params=["1.0", "0.8-v1", "0.8-classic"])
def oracle(request: pytest.FixtureRequest) -> Oracle:
    """A server of either generation; the older one is spoken to in both dialects."""
    new = request.param == "1.0"
    endpoint = request.getfixturevalue("panda_oracle" if new else "panda_oracle_old")
    classic = request.param.endswith("classic")
    return Oracle(str(endpoint["url"]), DialectName.CLASSIC if classic else DialectName.V1, new)


@pytest.fixture
def panda(oracle: Oracle) -> Iterator[PandaSource]:
    settings = PandaSettings(url=oracle.url, queue="SITE", node=NODE, resource_type="SCORE", job_type="managed")
    source = PandaSource(msgspec.structs.replace(settings, dialect=oracle.dialect))
    oracle.calls()
    yield source
    source.close()


def full(state: State, **more: Any) -> JobUpdate:
    """An update that says everything that can be said."""
    error = PayloadExecutionFailure("exit code 3").failure() if state is State.FAILED else None
    return JobUpdate(
        101, 1, state, 1.7e9, substate="x", started=1.7e9, ended=1.7e9, cores=8, mean_cores=7.6, events=10,
        input_files=2, usage=USAGE, metrics={"leak": "12.5", "chi2": "0.75"}, metadata={"a": [1]}, error=error,
        report=(StoredFile("output.file", "g", 3, {"adler32": "0a1b2c3d"}, "root://x", "RSE"),),
        timing_s={"payload": 9.6}, log_excerpt="log", stdout="out", payload_exit=3, payload_error=(7, "bad"),
        corrupted_files=("a",), remaining_disk_mb=5, workdir="/w", **more,
    )  # fmt: skip


def like(value: Any, wanted: Any) -> Any:
    """A value of the classic server, which keeps numbers as the text they came in and rates as whole kB/s."""
    if isinstance(wanted, float) and value is not None:
        return wanted if abs(float(value) - wanted) < 1 else value
    return type(wanted)(value) if value is not None else None


def test_both_generations_are_known_for_what_they_are(oracle: Oracle) -> None:
    assert PandaServer(PandaSettings(url=oracle.url, queue="Q")).probe() is DialectName.V1


def test_jobs_come_as_the_server_writes_them(oracle: Oracle, panda: PandaSource) -> None:
    assert panda.acquire(Capacity(jobs=1)).jobs == ()
    numbers = [101, 102]
    oracle.give(
        *(
            {"PandaID": n, "attemptNr": 1, "jobParameters": "-n 1", "coreCount": 8, "transformation": "t"}
            for n in numbers
        )
    )
    acquired = panda.acquire(Capacity(jobs=2, cores=8, memory_mb=4000, disk_mb=9000, gpus=1, seconds_left=3600))
    jobs = [parse(raw) for raw in acquired.jobs]
    assert [job.job_id for job in jobs] == numbers
    (first, _) = jobs
    assert (first.cores, first.parameters, first.attempt) == (8, "-n 1", 1)
    assert [(f.lfn, f.scope, f.size, f.checksum) for f in first.inputs] == [
        ("input.file", "scope.input", 7, "ad:0a1b2c3d")
    ]
    assert [(f.lfn, f.scope) for f in first.outputs] == [("output.file", "scope.output")]
    assert first.log is not None and (first.log.lfn, first.log.scope, first.log.guid) == (
        "log.file",
        "scope.log",
        "guid-log",
    )
    asked = oracle.last("getJobs")
    asked = [str(value) for value in asked]
    assert asked[:6] == ["2", "SITE", "managed", "4000", "9000", "wn"] and "5" in asked
    assert oracle.classic or "3600" in asked


GPU = {"vendor": "NVIDIA", "model": "H200", "vram": 143771, "architecture": "Hopper", "framework_version": "12.4",
       "driver_version": "550.54.15"}  # fmt: skip


def test_gpus_are_told_to_a_server_that_hears_of_them_and_once_to_an_older_one(oracle: Oracle) -> None:
    settings = PandaSettings(url=oracle.url, queue="SITE", dialect=oracle.dialect, gpus=(GPU,))
    panda = PandaSource(settings)
    oracle.calls()
    for free, told in ((1, [GPU]), (0, [])):
        assert panda.acquire(Capacity(jobs=1, gpus=free)).jobs == ()
        asked = oracle.last("getJobs")
        assert asked[-1] == {"gpus": told} if oracle.new else not [v for v in asked if isinstance(v, dict)]
    panda.close()


@pytest.mark.parametrize("state", list(State))
def test_every_field_of_every_state_is_taken(oracle: Oracle, panda: PandaSource, state: State) -> None:
    (answer,) = panda.report([full(state)])
    assert answer.accepted, answer.why
    job_id, status, param, *_ = oracle.last("updateJobStatus")
    assert job_id == 101 and status == ("holding" if state.final else str(state))
    wanted = {
        "cpuConsumptionTime": 9, "cpuConsumptionUnit": "s+CPU", "cpu_architecture_level": "x86-64-v3",
        "modificationHost": "wn", "transExitCode": 3, "exeErrorCode": 7, "jobMetrics": "leak=12.5 chi2=0.75",
        "pilotID": "unknown|PR|1", "batchID": "7", "schedulerID": "harvester-h", "cpuConversion": 1.0,
        "pilotTiming": "0|0|10|0|0|0", "nEvents": 10, "nInputFiles": 2, "actualCoreCount": 8, "meanCoreCount": 8.0,
        "maxRSS": 1000, "avgPSS": 400, "totRCHAR": 10**6 / 1024, "rateRCHAR": 95238 / 1024, "corruptedFiles": "a",
        "startTime": "2023-11-14 22:13:20", "endTime": "2023-11-14 22:13:20", "grid": "g", "sourceSite": "s",
    }  # fmt: skip
    assert {key: like(param.get(key), value) for key, value in wanted.items()} == wanted
    assert ("pilotErrorCode" in param) == (state is State.FAILED)


def test_a_bare_heartbeat_is_taken(panda: PandaSource) -> None:
    assert panda.report([JobUpdate(101, 1, State.RUNNING, 1.0)])[0].accepted


def test_updates_in_bulk_are_taken_one_by_one(oracle: Oracle, panda: PandaSource) -> None:
    answers = panda.report([full(State.RUNNING), full(State.FAILED), JobUpdate(102, 1, State.STARTING, 1.0)])
    assert [answer.accepted for answer in answers] == [True] * 3
    assert [name for name, _ in oracle.calls()].count("updateJobStatus") == 3


def test_what_the_server_refuses_is_refused_for_good(oracle: Oracle) -> None:
    for message in ({"job_id": "5", "job_status": "running"}, {"job_id": 5, "job_status": "running", "timestamp": "x"}):
        answer = requests.post(f"{oracle.url}/api/v1/pilot/update_job", json=message, timeout=10).content
        from pilot.plugins.sources.v1 import V1

        read = V1().read_answer(answer)
        assert (read.accepted, read.retry) == (False, False) and "rror" in read.why


def test_states_of_jobs_are_told(oracle: Oracle, panda: PandaSource) -> None:
    panda.report([JobUpdate(101, 1, State.RUNNING, 1.0)])
    assert panda.status([101, 999]) == {101: "running"}
    assert panda.status([999]) == {}


def test_worker_calls_are_taken(oracle: Oracle) -> None:
    worker = PandaWorker(PandaSettings(url=oracle.url, queue="SITE", node=NODE))
    assert worker.started() and worker.finished()
    facts = read_node()
    gpus = worker_node_gpus(type(facts)(gpus=(Gpu("NVIDIA", "H200", 2, 143771, "Hopper", "550"),)), "SITE", "wn")
    assert worker.node(worker_node(facts, "SITE", "wn", "SITE"), gpus)
    assert {"updateWorkerPilotStatus", "update_worker_node", "update_worker_node_gpu"} <= {n for n, _ in oracle.calls()}
    worker.close()


def test_event_ranges_are_given_and_taken_although_the_server_fails_after_storing(
    oracle: Oracle, panda: PandaSource
) -> None:
    granted = panda.events.acquire(CONSUMER, 1)
    (one,) = granted.ranges
    assert (one.id, one.events) == ("7-101-1-1-1", 5)
    update = RangeUpdate(one.id, RangeStatus.FINISHED, cores=1, cpu_s=1.5, storage_id="12")
    for version in (0, 1):
        chunk = Chunk((update,), Archive("z", "12", 5, "0a1b2c3d", 5) if version > 1 else None)
        assert panda.events.update(CONSUMER, [chunk], version).stored == (True,)
    text, version = oracle.last("updateEventRanges")
    assert (json.loads(text)[0]["eventStatus"], version) == ("finished", 1)
    states = panda.events.states(CONSUMER)
    assert oracle.classic or states[one.id].status == "finished"
