"""The classic dialect of the job server over real HTTP."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from server_client import GOOD, ClassicClient, spec

from pilot.server.launch import RunningServer, running_server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with running_server(tmp_path_factory.mktemp("server") / "jobs.db", "classic") as running:
        yield running


@pytest.fixture
def client(server: RunningServer) -> Iterator[ClassicClient]:
    client = ClassicClient(server.url)
    yield client
    client.leave_nothing()


def test_a_job_goes_from_get_job_to_finished(client: ClassicClient) -> None:
    (number,) = client.submit(spec(coreCount=2))
    job = client.call("getJob", siteName="SITE", mem="2000")
    assert (job["StatusCode"], job["PandaID"], job["coreCount"]) == ("0", str(number), "2")
    told = {"jobId": job["PandaID"], "attemptNr": job["attemptNr"], "siteName": "SITE"}
    answer = client.call("updateJob", state="running", timestamp="2026-01-31T10:20:30+01:00", maxRSS="12.5", **told)
    assert answer == {"StatusCode": "0", "command": "NULL"}
    report = json.dumps({lfn: GOOD for lfn in job["outFiles"].split(",")})
    client.call("updateJob", state="finished", xml=report, **told)
    end = client.job(number)
    assert (end["state"], end["facts"]["max_rss"]) == ("finished", 12)
    assert client.call("updateJob", state="finished", **told)["command"] == "alreadydone"


def test_no_job_is_status_code_20(client: ClassicClient) -> None:
    assert client.call("getJob", siteName="SITE")["StatusCode"] == "20"


def test_jobs_come_in_a_list_whenever_a_number_is_asked_for(client: ClassicClient) -> None:
    numbers = client.submit(spec(), spec(), spec())
    one = client.call("getJob", siteName="SITE", nJobs="1")
    assert [job["PandaID"] for job in json.loads(one["jobs"])] == numbers[:1]
    rest = client.call_json("getJob", siteName="SITE", nJobs="5")
    assert (rest["StatusCode"], [job["PandaID"] for job in rest["jobs"]]) == (0, numbers[1:])


def test_a_state_that_pilots_do_not_report_is_success_without_effect(client: ClassicClient) -> None:
    client.submit(spec())
    job = client.call("getJob", siteName="SITE")
    assert client.call("updateJob", jobId=job["PandaID"], state="stagein")["StatusCode"] == "0"
    assert client.job(int(job["PandaID"]))["state"] == "sent"


def test_packed_json_is_read_and_booleans_become_words(client: ClassicClient) -> None:
    (number,) = client.submit(spec())
    body = gzip.compress(json.dumps({"pandaID": number, "modeOn": True}).encode())
    url, headers = f"{client.url}/server/panda/setDebugMode", {"Content-Type": "application/json"}
    assert requests.post(url, data=body, headers=headers, timeout=5).text == "Succeeded"
    assert client.job(number)["debug"] is True


def test_json_that_is_not_packed_is_a_server_error(client: ClassicClient) -> None:
    url, headers = f"{client.url}/server/panda/getStatus", {"Content-Type": "application/json"}
    assert requests.post(url, data=b'{"ids": "1"}', headers=headers, timeout=5).status_code == 500


def test_a_multipart_form_is_read(client: ClassicClient) -> None:
    answer = requests.post(f"{client.url}/server/panda/getStatus", files={"ids": (None, "999999 x")}, timeout=5)
    assert answer.text == "StatusCode=0&status=notfound%2Bnotfound&attemptNr=0%2B0"


def test_statuses_are_joined(client: ClassicClient) -> None:
    first, second = client.submit(spec(), spec(attemptNr=4))
    assert client.call("getStatus", ids=f"{first} 999999 {second}") == {
        "StatusCode": "0",
        "status": "activated+notfound+activated",
        "attemptNr": "1+0+4",
    }


def test_a_bulk_update_answers_a_pair(client: ClassicClient) -> None:
    numbers = client.submit(spec(), spec())
    client.call("getJob", siteName="SITE", nJobs="2")
    jobs = [{"jobId": number, "state": "running", "nEvents": 5} for number in numbers]
    url = f"{client.url}/server/panda/updateJobsInBulk"
    good, answers = requests.post(url, data={"jobList": json.dumps(jobs)}, timeout=5).json()
    assert (good, answers) == (True, ["StatusCode=0&command=NULL"] * 2), "each answer is a text of its own"
    assert [client.job(number)["state"] for number in numbers] == ["running", "running"]
    good, _ = requests.post(url, data={"jobList": json.dumps([{"state": "running"}])}, timeout=5).json()
    assert good is False


@pytest.mark.parametrize(
    ("method", "args", "status"),
    [
        ("noSuchMethod", {}, 403),
        ("updateJob", {"jobId": "1"}, 500),
        ("updateJob", {"jobId": "1", "state": "running", "noSuchField": "1"}, 500),
    ],
)
def test_a_wrong_call_is_an_http_error(client: ClassicClient, method: str, args: dict[str, Any], status: int) -> None:
    assert requests.post(f"{client.url}/server/panda/{method}", data=args, timeout=5).status_code == status


def test_a_number_that_is_none_is_status_code_50(client: ClassicClient) -> None:
    assert client.call("updateJob", jobId="one", state="running")["StatusCode"] == "50"


def test_the_small_calls_answer(client: ClassicClient) -> None:
    assert requests.get(f"{client.url}/server/panda/isAlive", timeout=5).text == "alive=yes"
    names = [kind["resource_name"] for kind in client.call_json("getResourceTypes")["ResourceTypes"]]
    assert {"SCORE", "MCORE", "SCORE_HIMEM", "MCORE_HIMEM"} <= set(names)
    args = {"workerID": "7", "harvesterID": "h", "site": "SITE"}
    assert client.call("updateWorkerPilotStatus", status="started", **args)["StatusCode"] == "0"
    assert client.call("updateWorkerPilotStatus", status="asleep", **args)["StatusCode"] == "50"


def test_a_dialect_that_is_not_spoken_is_refused(client: ClassicClient, tmp_path: Path) -> None:
    assert requests.get(f"{client.url}/api/v1/system/is_alive", timeout=5).status_code == 404
    with running_server(tmp_path / "jobs.db", "v1") as running:
        answer = requests.post(f"{running.url}/server/panda/getJob", data={"siteName": "S"}, timeout=5)
        assert (answer.status_code, answer.text) == (403, "ERROR : method getJob is forbidden")
