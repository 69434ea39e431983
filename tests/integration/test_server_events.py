"""Event ranges and cloned jobs at the job server, in both dialects."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from server_client import ClassicClient, spec

from pilot.server.launch import RunningServer, running_server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with running_server(tmp_path_factory.mktemp("server") / "jobs.db") as running:
        yield running


@pytest.fixture
def client(server: RunningServer) -> Iterator[ClassicClient]:
    client = ClassicClient(server.url)
    yield client
    client.leave_nothing()


def event_spec(**more: Any) -> dict[str, Any]:
    return spec(
        eventService="True", inFiles="HZZ.root", GUID="G", scopeIn="demo", nEvents=2421, nEventsPerRange=50, **more
    )


def started(client: ClassicClient, **more: Any) -> dict[str, Any]:
    client.submit(event_spec(**more))
    job = client.acquire()
    client.update(job, "running")
    return job


def ids(job: dict[str, Any]) -> dict[str, int]:
    return {"job_id": job["PandaID"], "jobset_id": job["jobsetID"], "task_id": job["taskID"]}


def acquire(client: ClassicClient, job: dict[str, Any], wanted: int = 10) -> list[dict[str, Any]]:
    return list(client.post("event/acquire_event_ranges", n_ranges=wanted, **ids(job))["data"])


def count(client: ClassicClient, job: dict[str, Any]) -> int:
    return int(client.get("event/get_available_event_range_count", **ids(job))["data"])


def tell(client: ClassicClient, *entries: dict[str, Any], version: int = 0) -> dict[str, Any]:
    answer = client.post("event/update_event_ranges", event_ranges=json.dumps(entries), version=version)
    return dict(answer["data"])


def end_of(one: dict[str, Any], status: str = "finished") -> dict[str, Any]:
    return {"eventRangeID": one["eventRangeID"], "eventStatus": status}


def states(client: ClassicClient, job: dict[str, Any]) -> dict[str, int]:
    url = f"{client.url}/jobs/{job['PandaID']}/ranges"
    return dict(client.session.get(url, timeout=5).json()["states"])


def test_all_events_are_handed_out_once_and_a_short_answer_is_the_last(client: ClassicClient) -> None:
    job = started(client)
    assert count(client, job) == 49
    ranges = acquire(client, job, 40) + acquire(client, job, 40)
    assert acquire(client, job) == []
    assert [(one["startEvent"], one["lastEvent"]) for one in ranges] == [
        (start, min(start + 49, 2421)) for start in range(1, 2422, 50)
    ]
    assert (ranges[0]["LFN"], ranges[0]["GUID"], ranges[0]["scope"]) == ("HZZ.root", "G", "demo")
    task, panda, _, process, attempt = ranges[7]["eventRangeID"].split("-")
    assert (int(task), int(panda), process, attempt) == (job["taskID"], job["PandaID"], "8", "1")
    assert (count(client, job), states(client, job)) == (0, {"sent": 49, "ready": 0})


def test_a_range_has_one_outcome_and_repeats_are_harmless(client: ClassicClient) -> None:
    job = started(client)
    one, two = acquire(client, job, 2)
    assert tell(client, end_of(one), end_of(two, "fatal"))["Returns"] == [True, True]
    assert tell(client, end_of(one), end_of(two, "fatal"))["Returns"] == [True, True]
    assert tell(client, end_of(one, "failed"), end_of(two))["Returns"] == [False, False]
    assert states(client, job) == {"finished": 1, "fatal": 1, "ready": 47}


def test_a_failed_range_comes_back_under_a_new_attempt_until_its_tries_are_used(client: ClassicClient) -> None:
    job = started(client, maxAttemptES=2)
    first = acquire(client, job, 1)[0]
    failure = {**end_of(first, "failed"), "errorCode": 1305, "errorDiag": "it broke"}
    assert tell(client, failure)["Returns"] == [True]
    assert tell(client, failure)["Returns"] == [True], "a repeated message is no second failure"
    again = acquire(client, job, 1)[0]
    assert again["eventRangeID"] == first["eventRangeID"][:-1] + "2"
    assert tell(client, end_of(first))["Returns"] == [False], "the first attempt is over"
    assert tell(client, end_of(again, "failed"))["Returns"] == [True]
    assert states(client, job) == {"failed": 1, "ready": 48}
    asked = json.dumps([{"task_id": job["taskID"], "job_id": job["PandaID"]}])
    told = client.get("event/get_event_range_statuses", job_task_ids=asked)["data"][str(job["PandaID"])]
    assert told[first["eventRangeID"]] == {"status": "failed", "error": 1305, "dialog": "it broke"}
    assert told[again["eventRangeID"]]["status"] == "failed"
    asked = json.dumps([{"task_id": job["taskID"], "panda_id": job["PandaID"]}])
    assert client.call_json("get_events_status", ids=asked) == {str(job["PandaID"]): told}


def test_updates_without_effect_are_null_and_wrong_ones_false(client: ClassicClient) -> None:
    job = started(client)
    one = acquire(client, job, 1)[0]
    parts = one["eventRangeID"].split("-")
    wrong = [
        "-".join([*parts[:3], "50", "1"]), "-".join([*parts[:3], "0", "1"]), "-".join([*parts[:2], "9999", "1", "1"]),
        "-".join(["1", *parts[1:]]), "-".join([parts[0], "999999", *parts[2:]]), "nonsense",
    ]  # fmt: skip
    told = tell(
        client, end_of(one, "running"), end_of(one, "transferring"), end_of(one, "happy"),
        *({"eventRangeID": name, "eventStatus": "finished"} for name in wrong),
    )  # fmt: skip
    assert told["Returns"] == [None, None, False, *[False] * len(wrong)]
    assert told["Commands"]["999999"] == "tobekilled"


def test_chunks_of_version_1_are_flattened_in_order(client: ClassicClient) -> None:
    job = started(client)
    a, b, c = acquire(client, job, 3)
    chunk = {"zipFile": {"lfn": "z.tar", "fsize": 1, "adler32": "0a1b2c3d"}, "eventRanges": [end_of(a), end_of(b)]}
    assert tell(client, chunk, end_of(c), version=1)["Returns"] == [True, True, True]


def test_events_are_only_for_a_job_with_a_pilot(client: ClassicClient) -> None:
    job = started(client)
    one, two = acquire(client, job, 2)
    client.steer(job["PandaID"], "kill")
    assert acquire(client, job) == []
    told = tell(client, end_of(one))
    assert (told["Returns"], told["Commands"]) == ([True], {str(job["PandaID"]): "tobekilled"})
    client.finish(job, "failed")
    assert tell(client, end_of(two))["Returns"] == [False]


def test_softkill_is_told_with_updates(client: ClassicClient) -> None:
    job = started(client)
    one = acquire(client, job, 1)[0]
    client.steer(job["PandaID"], "softkill")
    assert tell(client, end_of(one))["Commands"] == {str(job["PandaID"]): "softkill"}
    assert client.update(job, "running")["data"]["command"] == "softkill"


def test_an_ended_job_gives_its_ranges_to_another_of_its_jobset(client: ClassicClient) -> None:
    one, two = client.submit(*[event_spec(taskID=1 << 40, jobsetID=1 << 40)] * 2)
    first, second = client.acquire(), client.acquire()
    assert [first["PandaID"], second["PandaID"]] == [one, two]
    held = acquire(client, first, 3)
    client.finish(first, "failed")
    again = acquire(client, second, 3)
    assert [r["startEvent"] for r in again] == [r["startEvent"] for r in held]
    assert all(r["eventRangeID"].split("-")[1] == str(two) for r in again)
    assert states(client, second) == {"sent": 3, "ready": 46}


def test_a_short_answer_closes_the_unused_jobs_of_the_jobset(client: ClassicClient) -> None:
    first, second = client.submit(*[event_spec(taskID=1 << 41, jobsetID=1 << 41)] * 2)
    job = client.acquire()
    assert job["PandaID"] == first
    assert len(acquire(client, job, 49)) == 49
    assert client.job(second)["state"] == "activated", "a full answer closes nothing"
    acquire(client, job, 1)
    assert client.job(second)["state"] == "closed"


def test_a_million_ranges_cost_nothing_until_they_are_used(client: ClassicClient) -> None:
    client.submit({**event_spec(), "nEvents": 10**6, "nEventsPerRange": 1})
    job = client.acquire()
    assert count(client, job) == 10**6
    ranges = acquire(client, job, 20_000)
    told = tell(client, *map(end_of, ranges))
    assert told["Returns"] == [True] * 20_000
    assert states(client, job) == {"finished": 20_000, "ready": 980_000}


def test_the_classic_calls_say_the_same(client: ClassicClient) -> None:
    job = started(client)
    numbers = {"pandaID": job["PandaID"], "jobsetID": job["jobsetID"], "taskID": job["taskID"]}
    assert client.call("checkEventsAvailability", **numbers) == {"StatusCode": "0", "nEventRanges": "49"}
    a, b, c = json.loads(client.call("getEventRanges", nRanges="3", **numbers)["eventRanges"])
    entries = json.dumps([end_of(a), end_of(b, "running"), {"eventRangeID": "x", "eventStatus": "finished"}])
    told = client.call("updateEventRanges", eventRanges=entries, version="0")
    assert (told["StatusCode"], json.loads(told["Returns"])) == ("0", [True, None, False])
    assert json.loads(told["Command"]) == {str(job["PandaID"]): None}
    assert client.call("updateEventRange", **end_of(c)) == {"StatusCode": "0", "Command": "NULL"}
    assert states(client, job) == {"finished": 2, "sent": 1, "ready": 46}


@pytest.mark.parametrize("bad", ["{}", "x", '{"a": 1}'])
def test_what_is_no_list_is_refused(client: ClassicClient, bad: str) -> None:
    assert not client.post("event/update_event_ranges", event_ranges=bad)["success"]
    assert client.call("updateEventRanges", eventRanges=bad)["StatusCode"] == "50"


def clones(client: ClassicClient, kind: str, number: int) -> tuple[dict[str, Any], dict[str, Any]]:
    client.submit(*[spec(cloneJob=kind, taskID=number, jobsetID=number)] * 2)
    return client.acquire(), client.acquire()


def test_only_one_copy_of_a_runonce_job_runs(client: ClassicClient) -> None:
    winner, loser = clones(client, "runonce", 1 << 42)
    assert client.update(winner, "running")["data"]["command"] is None
    assert client.update(loser, "running")["data"]["command"] == "tobekilled"
    assert acquire(client, loser, 1) == []
    assert len(acquire(client, winner, 1)) == 1, "the copy that has the range is told of it again"
    client.finish(winner)
    client.finish(loser, "failed")
    assert [client.job(job["PandaID"])["state"] for job in (winner, loser)] == ["finished", "cancelled"]


def test_a_runonce_copy_may_ask_for_the_range_before_it_starts(client: ClassicClient) -> None:
    first, second = clones(client, "runonce", 1 << 43)
    assert len(acquire(client, first, 1)) == 1
    assert acquire(client, second, 1) == []


def test_the_first_copy_of_a_storeonce_job_to_finish_wins(client: ClassicClient) -> None:
    first, second = clones(client, "storeonce", 1 << 44)
    assert client.update(first, "running")["data"]["command"] is None
    assert client.update(second, "running")["data"]["command"] is None
    client.finish(second)
    client.finish(first)
    assert [client.job(job["PandaID"])["state"] for job in (first, second)] == ["closed", "finished"]


def test_ranges_survive_a_kill_of_the_server(tmp_path: Path) -> None:
    with running_server(tmp_path / "jobs.db") as running:
        client = ClassicClient(running.url)
        job = started(client)
        one, two = acquire(client, job, 2)
        tell(client, end_of(one))
        running.process.kill()
    with running_server(tmp_path / "jobs.db") as running:
        client = ClassicClient(running.url)
        assert states(client, job) == {"finished": 1, "sent": 1, "ready": 47}
        assert tell(client, end_of(two))["Returns"] == [True]


def test_events_that_are_left_get_another_job(client: ClassicClient) -> None:
    first = started(client, maxAttempt=2)
    done, held = acquire(client, first, 2)
    tell(client, end_of(done))
    client.finish(first)
    second = client.acquire()
    assert (second["attemptNr"], second["jobsetID"]) == (2, first["jobsetID"])
    client.update(second, "running")
    again = acquire(client, second, 100)
    assert len(again) == 48
    assert again[0]["startEvent"] == held["startEvent"]
    tell(client, *map(end_of, again))
    client.finish(second)
    assert states(client, second) == {"finished": 49, "ready": 0}
    assert not client.post("pilot/acquire_jobs", site_name="SITE")["success"]
