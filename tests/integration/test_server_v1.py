"""The v1 dialect of the job server over real HTTP."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from server_client import GOOD, JSON, Client, spec

from pilot.server.launch import RunningServer, running_server

UNKNOWN = 10**9


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with running_server(tmp_path_factory.mktemp("server") / "jobs.db") as running:
        yield running


@pytest.fixture
def client(server: RunningServer) -> Iterator[Client]:
    client = Client(server.url)
    yield client
    client.leave_nothing()


def test_a_job_goes_from_submission_to_finished(client: Client) -> None:
    (number,) = client.submit(spec())
    job = client.acquire()
    assert job["PandaID"] == number
    assert client.update(job, "starting")["data"] == {"StatusCode": 0, "command": None}
    client.update(job, "running", max_rss=1000.5)
    assert client.job(number)["state"] == "running"
    client.finish(job)
    end = client.job(number)
    assert (end["state"], end["final_reports"], end["facts"]["max_rss"]) == ("finished", 1, 1000)
    assert {file["lfn"]: file["status"] for file in end["files"]} == {"out.root": "ready", job["logFile"]: "ready"}


def test_no_job_is_a_refusal_with_its_own_message(client: Client) -> None:
    answer = client.post("pilot/acquire_jobs", site_name="SITE")
    assert answer == {"success": False, "message": "No jobs in PanDA", "data": None}


def test_a_repeated_final_update_is_already_done_and_changes_nothing(client: Client) -> None:
    client.submit(spec())
    job = client.acquire()
    client.finish(job)
    assert client.finish(job, "failed")["data"]["command"] == "alreadydone"
    end = client.job(job["PandaID"])
    assert (end["state"], end["final_reports"], end["repeated_final_reports"]) == ("finished", 1, 1)


def test_an_output_missing_from_the_report_fails_the_job(client: Client) -> None:
    client.submit(spec())
    job = client.acquire()
    client.update(job, "finished", job_output_report=json.dumps({job["logFile"]: GOOD}))
    end = client.job(job["PandaID"])
    assert end["state"] == "failed"
    assert "expected output out.root is missing" in end["errors"]["ddm_error_diag"]


def test_a_wrong_attempt_is_told_to_die_and_not_applied(client: Client) -> None:
    client.submit(spec())
    job = client.acquire()
    answer = client.update({**job, "attemptNr": 7}, "running")
    assert answer["data"]["command"] == "tobekilled"
    assert client.job(job["PandaID"])["state"] == "sent"


def test_a_killed_job_is_told_and_ends_cancelled(client: Client) -> None:
    client.submit(spec())
    job = client.acquire()
    client.update(job, "running")
    client.steer(job["PandaID"], "kill")
    assert client.update(job, "running")["data"]["command"] == "tobekilled"
    client.finish(job, "failed")
    assert client.job(job["PandaID"])["state"] == "cancelled"


def test_a_command_is_told_once_and_debug_every_time(client: Client) -> None:
    client.submit(spec())
    job = client.acquire()
    client.steer(job["PandaID"], "debug", on=True)
    client.steer(job["PandaID"], "command", command="tail payload.stdout")
    told = [client.update(job, "running")["data"]["command"] for _ in range(3)]
    assert told == ["tail payload.stdout", "debug", "debug"]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"max_rss": 1, "workdir": "/tmp"}, "Argument error: got an unexpected keyword argument 'workdir'"),
        ({"n_events": 1.0}, "Type error: 'n_events'"),
        ({"mean_core_count": True}, "Type error: 'mean_core_count'"),
        ({"job_id": "1"}, "Type error: 'job_id'"),
        ({"job_status": None}, "Type error: 'job_status'"),
        ({"stdout": None}, "Type error: 'stdout'"),
        ({"timeout": None}, "Type error: 'timeout'"),
    ],
)
def test_a_wrong_parameter_is_refused_with_status_200(client: Client, args: dict[str, Any], message: str) -> None:
    answer = client.post("pilot/update_job", **{"job_id": 1, "job_status": "running", **args})
    assert not answer["success"]
    assert answer["message"].startswith(message)


def test_a_field_of_either_kind_takes_whole_numbers_and_fractions(client: Client) -> None:
    client.submit(spec())
    job = client.acquire()
    assert client.update(job, "running", cpu_conversion_factor=1, max_pss=2, node=None)["success"]
    assert client.update(job, "running", cpu_conversion_factor=1.5, max_pss=2.5)["success"]


def test_the_map_of_a_node_is_kept_and_its_clock_is_a_float(client: Client) -> None:
    cpu = {"site": "S", "host_name": "h", "cpu_model": "m", "n_sockets": 2}
    assert not client.post("pilot/update_worker_node", clock_speed=2400, **cpu)["success"]
    assert client.post("pilot/update_worker_node", clock_speed=2400.0, **cpu)["success"]
    gpu = {"site": "S", "host_name": "h", "vendor": "v", "model": "g"}
    assert not client.post("pilot/update_worker_node_gpu", **gpu)["success"]
    assert client.post("pilot/update_worker_node_gpu", count=2, **gpu)["success"]
    nodes = client.session.get(f"{client.url}/workers", timeout=5).json()["nodes"]
    assert [(node["kind"], node["host_name"]) for node in nodes] == [("cpu", "h"), ("gpu", "h")]


def test_workers_are_related_to_their_jobs(client: Client) -> None:
    (number,) = client.submit(spec())
    client.post("pilot/acquire_jobs", site_name="S", harvester_id="h", worker_id=7)
    assert client.post("pilot/update_worker_status", harvester_id="h", worker_id=7, status="started")["success"]
    assert not client.post("pilot/update_worker_status", harvester_id="h", worker_id=7, status="asleep")["success"]
    assert not client.post("pilot/update_worker_status", harvester_id="h", worker_id=7, status="started", site="S")[
        "success"
    ]
    (worker,) = client.session.get(f"{client.url}/workers", timeout=5).json()["workers"]
    assert (worker["worker_id"], worker["status"], worker["jobs"]) == (7, "started", [number])


def test_jobs_are_chosen_by_what_the_pilot_can_carry(client: Client) -> None:
    wants = {"minRamCount": 4000, "maxDiskCount": 100, "maxWalltime": 600, "resource_type": "MCORE"}
    (number,) = client.submit(spec(computingSite="SITE", taskID=77, **wants))
    asked = {"site_name": "SITE", "memory": 4000, "disk_space": 100, "remaining_time": 600, "task_id": 77}
    for less in (
        {"site_name": "OTHER"}, {"memory": 3999}, {"disk_space": 99}, {"remaining_time": 599}, {"task_id": 78},
        {"resource_type": "SCORE"}, {"prod_source_label": "user"}, {"prod_user_id": "/CN=x"},
    ):  # fmt: skip
        assert client.post("pilot/acquire_jobs", **{**asked, **less})["message"] == "No jobs in PanDA", less
    (job,) = client.post("pilot/acquire_jobs", resource_type="MCORE", **asked)["data"]["jobs"]
    assert job["PandaID"] == number


def test_higher_priority_goes_first_and_then_the_older_job(client: Client) -> None:
    one, two, three = client.submit(spec(), spec(currentPriority=900), spec())
    jobs = client.post("pilot/acquire_jobs", site_name="S", n_jobs=3)["data"]["jobs"]
    assert [job["PandaID"] for job in jobs] == [two, one, three]


def test_a_kill_before_dispatch_is_the_end_of_a_job(client: Client) -> None:
    (number,) = client.submit(spec())
    assert client.post("job/kill", job_ids=[number, UNKNOWN])["data"] == [True, False]
    assert client.job(number)["state"] == "cancelled"
    assert not client.post("pilot/acquire_jobs", site_name="S")["success"]


def test_a_command_is_set_over_the_api_too(client: Client) -> None:
    client.submit(spec())
    job = client.acquire()
    assert client.post("job/set_command", job_id=job["PandaID"], command="ls -l")["success"]
    assert not client.post("job/set_command", job_id=UNKNOWN, command="ls")["success"]
    assert client.update(job, "running")["data"]["command"] == "ls -l"
    client.steer(job["PandaID"], "debug")
    client.steer(job["PandaID"], "debug", on=False)
    assert [client.update(job, "running")["data"]["command"] for _ in range(2)] == ["debugoff", None]


def test_an_unknown_state_is_refused_with_the_inner_code_50(client: Client) -> None:
    answer = client.post("pilot/update_job", job_id=1, job_status="stagein")
    assert (answer["success"], answer["data"]["StatusCode"]) == (False, 50)


def test_one_malformed_item_fails_the_whole_bulk_update(client: Client) -> None:
    client.submit(spec())
    job = client.acquire()
    good = {"job_id": job["PandaID"], "job_status": "running"}
    for bad in ({**good, "events": 1}, {"job_status": "running"}):
        answer = client.post("pilot/update_jobs_bulk", job_list=[good, bad])
        assert (answer["success"], answer["data"]) == (False, [])
    assert client.job(job["PandaID"])["state"] == "sent"


def test_a_wrong_type_in_a_bulk_update_refuses_that_item_alone(client: Client) -> None:
    client.submit(spec())
    job = client.acquire()
    good = {"job_id": job["PandaID"], "job_status": "running", "meta_data": {"a": 1}}
    items = [{**good, "n_events": "1"}, good, {**good, "job_id": UNKNOWN}, {**good, "job_status": "asleep"}]
    answer = client.post("pilot/update_jobs_bulk", job_list=items)
    assert [item["success"] for item in answer["data"]] == [False, True, True, False]
    assert answer["data"][2]["data"]["command"] == "tobekilled"
    assert client.job(job["PandaID"])["state"] == "running"


def test_status_is_asked_with_repeated_keys(client: Client) -> None:
    (number,) = client.submit(spec())
    answer = client.get("pilot/get_job_status", job_ids=[number, UNKNOWN])
    assert answer["data"] == [
        {"job_id": number, "status": "activated", "attempt_number": 1},
        {"job_id": UNKNOWN, "status": "not found", "attempt_number": 0},
    ]


def test_is_alive_answers_get_only_and_under_latest_too(client: Client) -> None:
    assert client.get("system/is_alive")["success"]
    assert not client.post("system/is_alive")["success"]
    assert requests.get(f"{client.url}/api/latest/system/is_alive", headers=JSON, timeout=5).json()["success"]


def test_an_unknown_method_is_404(client: Client) -> None:
    assert requests.get(f"{client.url}/api/v1/pilot/no_such", timeout=5).status_code == 404


def test_json_is_read_only_under_its_exact_content_type(client: Client) -> None:
    body = json.dumps({"job_id": 1, "job_status": "running"})
    headers = {"Content-Type": "application/json; charset=utf-8", "Accept": "application/json"}
    answer = requests.post(f"{client.url}/api/v1/pilot/update_job", data=body, headers=headers, timeout=5)
    assert not answer.json()["success"]


def test_a_body_is_unpacked_only_if_it_says_that_it_is_packed(client: Client) -> None:
    url = f"{client.url}/api/v1/pilot/update_job"
    packed = gzip.compress(json.dumps({"job_id": 1, "job_status": "running"}).encode())
    told = requests.post(url, data=packed, headers={**JSON, "Content-Encoding": "gzip"}, timeout=5)
    assert told.json()["success"]
    assert requests.post(url, data=packed, headers=JSON, timeout=5).status_code == 500


def test_without_a_json_header_the_answer_is_a_python_text(client: Client) -> None:
    answer = requests.get(f"{client.url}/api/v1/system/is_alive", timeout=5)
    assert answer.text == "{'success': True, 'message': '', 'data': None}"


def test_a_wrong_description_is_named_and_keeps_the_others_out(client: Client) -> None:
    bad = {"jobName": "second", "outFiles": "a,a", "transformation": "x", "fsize": "1"}
    answer = client.session.post(f"{client.url}/submit", json=[spec(jobName="first"), bad], timeout=5)
    assert answer.status_code == 400
    assert "job 1 (second): outFiles: names a file twice" in answer.json()["error"]
    assert not client.session.get(f"{client.url}/jobs?state=activated", timeout=5).json()["jobs"]


def test_jobs_survive_a_kill_of_the_server(tmp_path: Path) -> None:
    with running_server(tmp_path / "jobs.db") as running:
        client = Client(running.url)
        client.submit(spec())
        job = client.acquire()
        client.update(job, "running")
        running.process.kill()
    with running_server(tmp_path / "jobs.db") as running:
        client = Client(running.url)
        assert client.job(job["PandaID"])["state"] == "running"
        client.finish(job)
        assert client.job(job["PandaID"])["state"] == "finished"


def test_a_failed_job_is_tried_again_as_often_as_its_description_allows(client: Client) -> None:
    (number,) = client.submit(spec(maxAttempt=2, jobName="again"))
    first = client.acquire()
    client.finish(first, "failed")
    second = client.acquire()
    assert (second["attemptNr"], second["parentID"], second["jobName"]) == (2, number, "again")
    assert second["PandaID"] != number
    assert second["logFile"] != first["logFile"]
    assert second["logFile"] in second["outFiles"].split(",")
    client.finish(second, "failed")
    assert not client.post("pilot/acquire_jobs", site_name="SITE")["success"]


def test_a_killed_job_is_not_tried_again(client: Client) -> None:
    client.submit(spec(maxAttempt=3))
    job = client.acquire()
    client.steer(job["PandaID"], "kill")
    client.finish(job, "failed")
    assert not client.post("pilot/acquire_jobs", site_name="SITE")["success"]
