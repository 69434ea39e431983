"""Copies of one job: the one that has lost to another neither runs nor stores, whoever of them is asked when."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest
import requests

from pilot.core.errors import CommunicationFailure
from pilot.core.ranges import Consumer
from pilot.lib.program import own_command, own_environment
from pilot.plugins.sources.dummy import DummySource
from pilot.plugins.sources.dummy_events import DummyEvents
from pilot.server.launch import running_server
from tests.bench import Bench, shell_job

KINDS = ("runonce", "storeonce")


def bench_of(folder: Path, kind: str, events: DummyEvents, script: str = "touch ran; echo x > out") -> Bench:
    folder.mkdir(exist_ok=True)
    source = DummySource([shell_job(1, script, outputs=("out",), cloneJob=kind)])
    source.events = events
    return Bench(folder, source)


def code_of(bench: Bench) -> int | None:
    error = bench.final(1).error
    return error.code if error else None


@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_runs_and_stores_if_no_other_has_the_range(tmp_path: Path, kind: str) -> None:
    events = DummyEvents(events=1, per_range=1)
    bench = bench_of(tmp_path, kind, events)
    bench.run(cleanup="none")
    assert code_of(bench) is None and (bench.outputs / "out").exists()
    assert events.asked == [], "the server takes the range for the copy, and kills one that has taken it itself"


@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_that_has_lost_is_not_started(tmp_path: Path, kind: str) -> None:
    bench = bench_of(tmp_path, kind, DummyEvents(events=0))
    bench.run(cleanup="none")
    assert code_of(bench) == 1234
    assert not (bench.directory(1) / "ran").exists()


@pytest.mark.parametrize(("kind", "code"), [("runonce", None), ("storeonce", 1234)])
def test_a_copy_that_loses_while_it_runs_stores_its_log_alone(tmp_path: Path, kind: str, code: int | None) -> None:
    events = DummyEvents(events=1, per_range=1)
    gate = tmp_path / "gate"
    bench = bench_of(tmp_path / "b", kind, events, f"touch ran; until [ -e {gate} ]; do sleep 0.05; done; echo x > out")

    def lose() -> None:
        if (bench.directory(1) / "ran").exists():
            events.ready.clear()
            events.sent["9-2-1-1-1"] = events.ranges[0]
            events.states = lambda consumer: {}
            gate.touch()
        else:
            bench.agent.means.loop.after(0.05, lose)

    bench.at(0.1, lose)
    bench.run(cleanup="none", patience_s=40)
    assert code_of(bench) == code
    assert (bench.outputs / "out").exists() == (code is None)
    assert (bench.outputs / "job.1.log.tgz").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_that_holds_the_range_from_before_goes_on(tmp_path: Path, kind: str) -> None:
    events = DummyEvents(events=1, per_range=1)
    events.acquire(Consumer(1), 1)
    bench = bench_of(tmp_path, kind, events)
    bench.run(cleanup="none")
    assert code_of(bench) is None and (bench.outputs / "out").exists()


def test_a_server_that_does_not_answer_loses_nobody(tmp_path: Path) -> None:
    events = DummyEvents(events=0)
    events.faults.extend([CommunicationFailure("away"), CommunicationFailure("still away")])
    bench = bench_of(tmp_path, "storeonce", events)
    bench.run(cleanup="none")
    assert code_of(bench) is None and (bench.outputs / "out").exists()


def pilot(folder: Path, url: str, dialect: str, name: str) -> subprocess.Popen:
    command = own_command("run", "--url", url, "--queue", "HERE", "--jobs", "1", "--workdir", str(folder / name))
    command += ["--output-dir", str(folder / "outputs"), "--dialect", dialect]
    with (folder / f"{name}.err").open("wb") as log:
        return subprocess.Popen(command, env=own_environment(), stdout=log, stderr=log)


@pytest.mark.parametrize("dialect", ["v1", "classic"])
@pytest.mark.parametrize(("kind", "wins"), [("runonce", "first"), ("storeonce", "second")])
def test_of_two_copies_at_the_job_server_one_stores(tmp_path: Path, kind: str, wins: str, dialect: str) -> None:
    """The second begins while the first runs, and ends before it does."""
    (tmp_path / "outputs").mkdir()
    gate = tmp_path / "gate"
    wait = f"case $PWD in */first/*) touch {tmp_path}/runs; until [ -e {gate} ]; do sleep 0.05; done;; esac"
    job = {
        "transformation": "/bin/sh", "jobPars": f"-c '{wait}; pwd > out'", "cloneJob": kind, "taskID": 4,
        "jobsetID": 5, "outFiles": "out,log.tgz", "logFile": "log.tgz", "coreCount": 1,
    }  # fmt: skip
    with running_server(tmp_path / "server.db") as server:
        answer = requests.post(f"{server.url}/submit", json=[job, job], timeout=5)
        numbers = [one["PandaID"] for one in answer.json()["jobs"]]
        first = pilot(tmp_path, server.url, dialect, "first")
        try:
            deadline = time.monotonic() + 30
            while not (tmp_path / "runs").exists() or "running" not in state(server.url, numbers[0]):
                assert time.monotonic() < deadline and first.poll() is None, (tmp_path / "first.err").read_text()
                time.sleep(0.05)
            second = pilot(tmp_path, server.url, dialect, "second")
            second.wait(60)
            gate.touch()
            first.wait(60)
        finally:
            first.kill()
        states = dict(zip(("first", "second"), (state(server.url, number) for number in numbers), strict=True))
    said = "".join((tmp_path / f"{name}.err").read_text() for name in states)
    loser = next(name for name in states if name != wins)
    assert states[wins] == "finished" and states[loser] != "finished", (states, said)
    assert f"/{wins}/" in (tmp_path / "outputs" / "out").read_text()
    assert "another copy has its range" in (tmp_path / f"{loser}.err").read_text()


def state(url: str, number: int) -> str:
    return str(requests.get(f"{url}/jobs/{number}", timeout=5).json()["state"])
