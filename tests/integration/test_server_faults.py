"""The knobs that make the job server misbehave, its watchers, and its end."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from server_client import JSON, ClassicClient, Client, spec

from pilot.server.launch import RunningServer, running_server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with running_server(tmp_path_factory.mktemp("server") / "jobs.db") as running:
        yield running


@pytest.fixture
def client(server: RunningServer) -> Iterator[ClassicClient]:
    client = ClassicClient(server.url)
    yield client
    requests.delete(f"{server.url}/faults", timeout=5)
    client.session.close()


def knobs(client: Client, *rules: dict[str, Any]) -> None:
    assert requests.post(f"{client.url}/faults", json=list(rules), timeout=5).status_code == 200


def alive(client: Client) -> requests.Response:
    return requests.get(f"{client.url}/api/v1/system/is_alive", headers=JSON, timeout=2)


def running_job(client: Client) -> dict[str, Any]:
    client.submit(spec())
    job = client.acquire()
    client.update(job, "starting")
    return job


@pytest.mark.parametrize(("when", "state"), [("before", "starting"), ("after", "running")])
def test_an_error_comes_before_or_after_the_commit(client: Client, when: str, state: str) -> None:
    job = running_job(client)
    knobs(client, {"method": "update_job*", "do": "error", "when": when, "status": 502, "count": 1})
    told = {"job_id": job["PandaID"], "job_status": "running"}
    url = f"{client.url}/api/v1/pilot/update_job"
    assert requests.post(url, data=json.dumps(told), headers=JSON, timeout=5).status_code == 502
    assert client.job(job["PandaID"])["state"] == state
    assert client.update(job, "running")["success"], "the count is used up"


@pytest.mark.parametrize(("when", "state"), [("before", "starting"), ("after", "running")])
def test_a_connection_is_closed_before_or_after_the_commit(client: Client, when: str, state: str) -> None:
    job = running_job(client)
    knobs(client, {"method": "pilot/update_job", "do": "close", "when": when})
    with pytest.raises(requests.ConnectionError):
        client.update(job, "running")
    assert client.job(job["PandaID"])["state"] == state


def test_garbage_and_half_an_answer_are_no_json(client: Client) -> None:
    for action in ("garbage", "half"):
        knobs(client, {"method": "is_alive", "do": action})
        answer = alive(client)
        assert answer.status_code == 200
        with pytest.raises(ValueError):
            answer.json()


def test_a_cut_answer_breaks_off(client: Client) -> None:
    knobs(client, {"method": "is_alive", "do": "cut"})
    with pytest.raises(requests.exceptions.RequestException):
        alive(client)


def test_a_hanging_request_outlasts_the_patience_of_a_client(client: Client) -> None:
    knobs(client, {"method": "is_alive", "do": "hang", "seconds": 5})
    with pytest.raises(requests.Timeout):
        requests.get(f"{client.url}/api/v1/system/is_alive", timeout=0.2)


def test_a_code_is_said_in_the_words_of_each_dialect(client: ClassicClient) -> None:
    knobs(client, {"do": "code", "code": 10})
    answer = client.post("pilot/update_job", job_id=1, job_status="running")
    assert (answer["success"], answer["data"]["StatusCode"]) == (True, 10)
    assert client.call("updateJob", jobId="1", state="running") == {"StatusCode": "10"}


def test_chances_are_drawn_from_a_seed(client: Client) -> None:
    def drawn() -> list[int]:
        knobs(client, {"do": "error", "probability": 0.5, "seed": 7, "skip": 2})
        return [alive(client).status_code for _ in range(20)]

    first = drawn()
    assert first[:2] == [200, 200]
    assert {200, 500} == set(first)
    assert drawn() == first


def test_knobs_are_listed_with_what_they_did(client: Client) -> None:
    knobs(client, {"method": "is_alive", "do": "error", "count": 1})
    alive(client), alive(client)
    (knob,) = requests.get(f"{client.url}/faults", timeout=5).json()["faults"]
    assert (knob["seen"], knob["struck"]) == (2, 1)


@pytest.mark.parametrize("bad", ['[{"do": "explode"}]', '[{"do": "error", "pattern": "x"}]', "x", "[{}]"])
def test_a_wrong_knob_is_refused(client: Client, bad: str) -> None:
    assert requests.post(f"{client.url}/faults", data=bad, timeout=5).status_code == 400


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_server_ends_at_once_even_while_requests_hang(tmp_path: Path, number: int) -> None:
    rule = '{"method": "is_alive", "do": "hang", "seconds": 60}'
    with running_server(tmp_path / "jobs.db", options=["--faults", rule]) as running:
        waiting = requests.Session()
        with pytest.raises(requests.Timeout):
            waiting.get(f"{running.url}/api/v1/system/is_alive", timeout=0.2)
        client = Client(running.url)
        client.submit(spec())  # leaves a connection that is kept alive
        running.process.send_signal(number)
        assert running.process.wait(5) == 0


def test_silent_pilots_lose_their_jobs(tmp_path: Path) -> None:
    options = ["--sent-limit", "0.2", "--heartbeat-limit", "0.4"]
    with running_server(tmp_path / "jobs.db", options=options) as running:
        client = Client(running.url)
        client.submit(spec(), spec())
        sent, silent = client.acquire(), client.acquire()
        client.update(silent, "running")
        ended = [wait_for(client, job, "failed") for job in (sent, silent)]
        assert [end["errors"]["job_dispatcher_error_code"] for end in ended] == [102, 100]
        assert client.update(silent, "running")["data"]["command"] == "alreadydone"


def test_a_report_waits_in_holding_for_the_adder_even_over_a_restart(tmp_path: Path) -> None:
    options = ["--adder-delay", "0.5"]
    with running_server(tmp_path / "jobs.db", options=options) as running:
        client = Client(running.url)
        client.submit(spec())
        job = client.acquire()
        client.finish(job)
        assert client.job(job["PandaID"])["state"] == "holding"
        assert client.finish(job)["data"]["command"] == "alreadydone"
        running.process.kill()
    with running_server(tmp_path / "jobs.db", options=options) as running:
        assert wait_for(Client(running.url), job, "finished")["final_reports"] == 1


def wait_for(client: Client, job: dict[str, Any], state: str) -> dict[str, Any]:
    patience = time.monotonic() + 5
    while (found := client.job(job["PandaID"]))["state"] != state:
        assert time.monotonic() < patience, found
        time.sleep(0.02)
    return found


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--prot", "1"], "--port"),
        (["--dialect", "v2"], "--dialect"),
        (["--faults", "{}"], "--faults"),
        (["--token-file", "/nowhere"], "--token-file"),
        (["--db", "/nowhere/at/all.db"], "--db"),
        (["--host", "256.0.0.1"], "--host"),
        (["--client-ca", "."], "--client-ca"),
    ],
)
def test_a_wrong_option_is_one_line_and_exit_code_2(tmp_path: Path, options: list[str], named: str) -> None:
    command = [sys.executable, "-m", "pilot", "serve", "--db", str(tmp_path / "jobs.db"), *options]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert named in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_a_foreign_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "jobs.db").write_text("not a database, but long enough to be taken for one? " * 100)
    with pytest.raises(RuntimeError, match="exit code 2"), running_server(tmp_path / "jobs.db"):
        pass


def test_a_server_ends_with_the_program_that_started_it(tmp_path: Path) -> None:
    with running_server(tmp_path / "jobs.db") as running:
        assert running.process.stdin is not None
        running.process.stdin.close()  # what the kernel does for a program that is killed
        assert running.process.wait(5) == 0
