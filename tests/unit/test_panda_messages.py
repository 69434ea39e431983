"""What goes over the wire: names, types, limits and units of each dialect."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs

import pytest

from pilot.core.errors import CommunicationFailure, PayloadExecutionFailure, PilotError, RequestRefused, StageOutFailed
from pilot.core.update import Command, JobUpdate, Node, State, StoredFile
from pilot.core.usage import Usage
from pilot.plugins.sources import wire
from pilot.plugins.sources.base import Capacity
from pilot.plugins.sources.classic import Classic
from pilot.plugins.sources.dialect import Call
from pilot.plugins.sources.panda_settings import PandaSettings
from pilot.plugins.sources.v1 import V1

NODE = Node(
    host="wn1",
    site="SITE",
    queue="QUEUE",
    pilot_id="unknown|PR|1",
    batch_id="77",
    scheduler_id="harvester-h1",
    harvester_id="h1",
    worker_id=5,
    cpu_unit="s+CPU",
    cpu_level="x86-64-v3",
    grid="g",
    source_site="s",
    destination_site="d",
)
USAGE = Usage(
    wall_s=10.0,
    user_s=12.5,
    system_s=1.5,
    max_rss_kb=1000,
    avg_pss_kb=500,
    rchar=1024000,
    wchar=2048,
    read_bytes=10,
    write_bytes=20,
)
FINAL = JobUpdate(
    job_id=5,
    attempt=2,
    state=State.FINISHED,
    at=1_700_000_000.0,
    started=1_699_999_000.0,
    ended=1_700_000_000.0,
    cores=8,
    mean_cores=1.4,
    events=100,
    input_files=2,
    usage=USAGE,
    metrics={"nEvents": "100", "odd": "a b"},
    metadata={"files": {}, "é": 1.5},
    report=(StoredFile("o", "guid", 3, {"adler32": "a1b2c3", "md5": "x"}, "root://s/o", "RSE"),),
    timing_s={"getjob": 0.6, "stagein": 2.4, "payload": 10, "setup": 1},
    log_excerpt="log",
    stdout="out",
    payload_exit=0,
    corrupted_files=("a", "b"),
    remaining_disk_mb=55,
    workdir="/w",
)

#: The types that a v1 server demands (protocol.md 3.1); nothing else may be sent.
DEMANDED: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(["job_id", "attempt_nr", "core_count", "mean_core_count", "n_events", "n_input_files"], int),
    **dict.fromkeys(["cpu_consumption_time", "trans_exit_code", "exe_error_code", "pilot_error_code"], int),
    **dict.fromkeys([f"{k}_{n}" for k in ("max", "avg") for n in ("rss", "vmem", "swap", "pss")], (int, float)),
    **dict.fromkeys(
        [f"{k}_{n}" for k in ("tot", "rate") for n in ("rchar", "wchar", "rbytes", "wbytes")], (int, float)
    ),
    **dict.fromkeys(["job_status", "job_sub_status", "site_name", "node", "scheduler_id", "pilot_id", "batch_id"], str),
    **dict.fromkeys(["start_time", "end_time", "cpu_consumption_unit", "cpu_architecture_level", "job_metrics"], str),
    **dict.fromkeys(["meta_data", "job_output_report", "pilot_timing", "pilot_log", "stdout", "exe_error_diag"], str),
    **dict.fromkeys(["pilot_error_diag", "corrupted_files", "grid", "source_site", "destination_site"], str),
    "cpu_conversion_factor": (int, float),
}


def sent(call: Call) -> dict[str, Any]:
    """The message in a call, from JSON or from form fields."""
    assert call.body is not None
    if call.headers["Content-Type"] == "application/json":
        return dict(json.loads(call.body))
    return {name: values[0] for name, values in parse_qs(call.body.decode(), keep_blank_values=True).items()}


def v1(update: JobUpdate) -> dict[str, Any]:
    return sent(V1().update(update, NODE))


def classic(update: JobUpdate) -> dict[str, Any]:
    return sent(Classic().update(update, NODE))


def test_v1_sends_only_known_fields_in_the_demanded_types() -> None:
    error = PayloadExecutionFailure("exit code 3").failure()
    for update in (FINAL, JobUpdate(5, 1, State.FAILED, 1.0, error=error, payload_error=(3, "x"), substate="s")):
        for name, value in v1(update).items():
            assert isinstance(value, DEMANDED[name]), name
            assert not isinstance(value, bool), name


def test_everything_that_is_known_is_told() -> None:
    told = v1(FINAL)
    assert set(DEMANDED) - set(told) == {
        "job_sub_status", "exe_error_code", "exe_error_diag", "pilot_error_code", "pilot_error_diag",
    }  # fmt: skip
    assert (told["start_time"], told["end_time"]) == ("2023-11-14 21:56:40", "2023-11-14 22:13:20")
    assert told["pilot_timing"] == "1|2|10|0|0|1"
    assert told["job_metrics"] == "nEvents=100 odd=a_b"
    assert (told["mean_core_count"], told["cpu_consumption_time"], told["corrupted_files"]) == (1, 14, "a,b")
    assert json.loads(told["meta_data"]) == {"files": {}, "é": 1.5}
    assert json.loads(told["job_output_report"]) == {
        "o": {"guid": "guid", "fsize": 3, "adler32": "00a1b2c3", "surl": "root://s/o", "endpoint": "RSE"}
    }


def test_a_heartbeat_leaves_out_what_is_not_known() -> None:
    told = v1(JobUpdate(5, 1, State.RUNNING, 1.0))
    assert {"start_time", "end_time", "n_events", "max_rss", "job_output_report", "stdout", "job_metrics"}.isdisjoint(
        told
    )
    assert told["job_status"] == "running"


def test_the_output_report_waits_for_the_final_word() -> None:
    assert "job_output_report" not in v1(JobUpdate(5, 1, State.RUNNING, 1.0, report=FINAL.report))


def test_rates_are_bytes_in_v1_and_kilobytes_in_the_classic_dialect() -> None:
    assert v1(FINAL)["rate_rchar"] == 102400
    assert classic(FINAL)["rateRCHAR"] == "100"
    assert v1(FINAL)["tot_rchar"] == 1024000 and classic(FINAL)["totRCHAR"] == "1024000"


def test_the_classic_dialect_has_its_own_names_and_three_more_fields() -> None:
    told = classic(FINAL)
    assert {k: told[k] for k in ("jobId", "state", "attemptNr", "siteName", "pilotID", "batchID", "schedulerID")} == {
        "jobId": "5",
        "state": "finished",
        "attemptNr": "2",
        "siteName": "QUEUE",
        "pilotID": "unknown|PR|1",
        "batchID": "77",
        "schedulerID": "harvester-h1",
    }
    assert (told["maxRSS"], told["avgPSS"], told["nInputFiles"], told["meanCoreCount"]) == ("1000", "500", "2", "1")
    assert (told["timestamp"], told["workdir"], told["remainingSpace"]) == ("2023-11-14T22:13:20+00:00", "/w", "55")
    assert json.loads(told["xml"])["o"]["fsize"] == 3 and "job_id" not in told and "corruptedFiles" in told


def test_texts_are_cut_to_the_servers_limits() -> None:
    error = StageOutFailed("word " * 300).failure()
    told = v1(
        JobUpdate(
            5, 1, State.FAILED, 1.0, error=error, stdout="a" * 3000 + "END", log_excerpt="b" * 2000 + "END",
            metrics={f"key{n}": "v" * 20 for n in range(40)}, substate="s" * 100,
        )
    )  # fmt: skip
    assert len(told["pilot_error_diag"]) <= 500 and told["pilot_error_diag"].endswith("word")
    assert len(told["job_metrics"]) <= 500 and told["job_metrics"].split()[-1].endswith("=" + "v" * 20)
    assert len(told["stdout"]) == 2048 and told["stdout"].endswith("END")
    assert len(told["pilot_log"]) == 1024 and told["pilot_log"].endswith("END")
    assert len(told["job_sub_status"]) == 80


def test_a_word_longer_than_the_limit_is_cut_all_the_same() -> None:
    assert wire.cut_at_blank("x" * 600, 500) == "x" * 500
    assert wire.cut_at_blank("ab cd", 5) == "ab cd"
    assert wire.cut_at_blank("ab cd", 4) == "ab"


def test_nul_bytes_and_broken_characters_never_leave() -> None:
    told = v1(JobUpdate(5, 1, State.RUNNING, 1.0, stdout="a\0b\udcff"))
    assert told["stdout"] == "ab?"


def test_recoverable_errors_are_negative_and_foreign_numbers_become_1315() -> None:
    error = StageOutFailed("x").failure()
    assert v1(JobUpdate(5, 1, State.FAILED, 1.0, error=error))["pilot_error_code"] == 1137
    assert v1(JobUpdate(5, 1, State.FAILED, 1.0, error=error, recoverable=True))["pilot_error_code"] == -1137
    import msgspec

    foreign = msgspec.structs.replace(error, code=65)
    assert v1(JobUpdate(5, 1, State.FAILED, 1.0, error=foreign))["pilot_error_code"] == 1315


def test_impossible_figures_are_not_told() -> None:
    told = v1(JobUpdate(5, 1, State.RUNNING, 1.0, usage=Usage(user_s=2e9, rchar=10**20, wall_s=0)))
    assert "cpu_consumption_time" not in told
    assert told["tot_rchar"] // 1024 < 10**10 and told["rate_rchar"] == 0


def test_an_input_that_was_not_read_is_reported_by_its_guid_alone() -> None:
    assert json.loads(wire.output_report([StoredFile("in", "g")])) == {"in": {"guid": "g"}}


CAPACITY = Capacity(jobs=3, cores=8, memory_mb=4000, disk_mb=20000, seconds_left=3600)


def test_a_request_for_jobs_has_v1s_types() -> None:
    asked = sent(V1().acquire(CAPACITY, PandaSettings(url="h", queue="Q", node=NODE, resource_type="SCORE")))
    assert asked == {
        "site_name": "Q",
        "n_jobs": 3,
        "prod_source_label": "managed",
        "timeout": 60,
        "memory": 4000,
        "disk_space": 20000,
        "node": "wn1",
        "resource_type": "SCORE",
        "harvester_id": "h1",
        "worker_id": 5,
        "scheduler_id": "harvester-h1",
        "remaining_time": 3600,
    }


def test_a_classic_request_for_one_job_does_not_tell_a_number() -> None:
    settings = PandaSettings(url="h", queue="Q", working_group="wg")
    assert "nJobs" not in sent(Classic().acquire(Capacity(jobs=1), settings))
    several = sent(Classic().acquire(Capacity(jobs=2), settings))
    assert (several["nJobs"], several["siteName"], several["workingGroup"]) == ("2", "Q", "wg")


def test_no_port_means_the_usual_one() -> None:
    assert PandaSettings(url="panda.example", queue="Q").base == "https://panda.example:25443"
    assert PandaSettings(url="http://h:8080/server/panda/", queue="Q").base == "http://h:8080"
    assert PandaSettings(url="https://h:1/api/v1", queue="Q").base == "https://h:1"
    assert PandaSettings(url="https://h", queue="Q", port=443).base == "https://h:443"


def body(value: Any) -> bytes:
    return value if isinstance(value, bytes) else json.dumps(value).encode()


def good(data: Any) -> dict[str, Any]:
    return {"success": True, "message": "", "data": data}


ANSWERS: list[tuple[Any, Any, bool, bool, list[str]]] = [
    (V1, good({"StatusCode": 0, "command": None}), True, False, []),
    (V1, good({"StatusCode": 0, "command": "NULL"}), True, False, []),
    (V1, good({"StatusCode": 0, "command": "debug,tobekilled"}), True, False, ["debug", "tobekilled"]),
    (V1, good({"StatusCode": 0, "command": "alreadydone"}), True, False, ["alreadydone"]),
    (V1, good({"StatusCode": 0, "command": "badattemptnr"}), True, False, ["badattemptnr"]),
    (V1, good({"StatusCode": 10}), False, True, []),
    (V1, good({"StatusCode": 30}), False, True, []),
    (V1, {"success": False, "message": "bad state", "data": {"StatusCode": 50}}, False, False, []),
    (V1, {"success": False, "message": "Type error: x", "data": None}, False, False, []),
    (V1, {"success": False, "message": "Argument error: x", "data": None}, False, False, []),
    (V1, {"success": False, "message": "something broke", "data": None}, False, True, []),
    (Classic, {"StatusCode": 0, "command": "NULL"}, True, False, []),
    (Classic, b"StatusCode=0&command=debug%2Csoftkill", True, False, ["debug", "softkill"]),
    (Classic, b"StatusCode=10", False, True, []),
    (Classic, {"StatusCode": 60, "errorDialog": "role"}, False, False, []),
]


@pytest.mark.parametrize(("dialect", "answer", "accepted", "retry", "words"), ANSWERS)
def test_the_inner_status_of_an_answer_decides(
    dialect: Any, answer: Any, accepted: bool, retry: bool, words: list[str]
) -> None:
    read = dialect().read_answer(body(answer))
    assert (read.accepted, read.retry, [c.word for c in read.commands]) == (accepted, retry, words)


def test_secrets_of_a_debug_job_come_with_the_answer() -> None:
    answer = V1().read_answer(body(good({"StatusCode": 0, "command": "tail a", "pilotSecrets": '{"k": "v"}'})))
    assert answer.secrets == {"k": "v"} and answer.commands == (Command("tail", "a"),)
    assert Classic().read_answer(b"StatusCode=0&pilotSecrets=%7B%22k%22%3A+1%7D").secrets == {"k": 1}


GARBAGE = [b"", b"<html>busy</html>", b'{"success": tr', b"[]", b"null", b"\xff\xfe", b'{"success": "yes"}', b"a=b"]


@pytest.mark.parametrize("answer", GARBAGE)
@pytest.mark.parametrize("dialect", [V1, Classic])
def test_garbage_is_worth_a_retry_and_never_a_traceback(dialect: Any, answer: bytes) -> None:
    for read in (dialect().read_answer, dialect().read_jobs):
        with pytest.raises(CommunicationFailure) as caught:
            read(answer)
        assert caught.value.retry
    with pytest.raises(CommunicationFailure):
        dialect().read_answers(answer, 2)


JOB = {"PandaID": 1}
JOBS: list[tuple[Any, Any, Any]] = [
    (V1, good({"StatusCode": 0, "jobs": [JOB]}), 1),
    (V1, good([JOB, JOB]), 2),
    (V1, {"success": False, "message": "No jobs in PanDA", "data": None}, 0),
    (V1, good({"StatusCode": 20}), 0),
    (V1, good({"StatusCode": 10}), CommunicationFailure),
    (V1, good({"StatusCode": 0, "jobs": ["x"]}), CommunicationFailure),
    (V1, good({"StatusCode": 0}), CommunicationFailure),
    (V1, {"success": False, "message": "Timed out", "data": None}, CommunicationFailure),
    (V1, {"success": False, "message": "no production/pilot role in VOMS FQANs", "data": None}, RequestRefused),
    (V1, {"success": False, "message": "Type error: 'memory'", "data": None}, RequestRefused),
    (Classic, {"StatusCode": 0, "jobs": [JOB]}, 1),
    (Classic, {"StatusCode": 0, **JOB}, 1),
    (Classic, b"StatusCode=0&PandaID=1&jobPars=a%26b", 1),
    (Classic, b"StatusCode=0&jobs=%5B%7B%22PandaID%22%3A+1%7D%5D", 1),
    (Classic, b"StatusCode=20&errorDialog=none", 0),
    (Classic, b"StatusCode=0", CommunicationFailure),
    (Classic, b"StatusCode=0&jobs=%5B", CommunicationFailure),
    (Classic, b"StatusCode=10", CommunicationFailure),
    (Classic, b"StatusCode=60", RequestRefused),
]


@pytest.mark.parametrize(("dialect", "answer", "expected"), JOBS)
def test_every_answer_to_a_request_for_jobs_is_understood(dialect: Any, answer: Any, expected: Any) -> None:
    if isinstance(expected, int):
        assert len(dialect().read_jobs(body(answer)).jobs) == expected
    else:
        with pytest.raises(PilotError) as caught:
            dialect().read_jobs(body(answer))
        assert isinstance(caught.value, expected) and caught.value.retry == expected.retry


def test_bulk_answers_are_read_one_by_one() -> None:
    answers = V1().read_answers(body(good([good({"StatusCode": 0}), good({"StatusCode": 30})])), 2)
    assert [a.accepted for a in answers] == [True, False]
    wrapped = {"type": "json", "content": '{"StatusCode": 0, "command": "debug"}'}
    mixed = [True, [{"StatusCode": 0, "command": "tobekilled"}, "StatusCode=30", wrapped]]
    first, second, third = Classic().read_answers(body(mixed), 3)
    assert third.accepted and third.commands == (Command("debug"),)
    assert first.commands == (Command("tobekilled"),) and (second.accepted, second.retry) == (False, True)
    with pytest.raises(CommunicationFailure):
        V1().read_answers(body(good([good(None)])), 2)
    with pytest.raises(RequestRefused):
        V1().read_answers(body({"success": False, "message": "failed with KeyError", "data": []}), 2)
    with pytest.raises(RequestRefused):
        Classic().read_answers(body([False, "invalid"]), 2)


def test_states_are_read_with_and_without_a_quoted_plus() -> None:
    for flat in (b"StatusCode=0&status=running%2Bnotfound&attemptNr=1%2B0", b"StatusCode=0&status=running+notfound"):
        assert Classic().read_status(flat, [1, 2]) == {1: "running"}


def test_a_long_message_is_compressed_and_says_so() -> None:
    import gzip

    call = V1().update(JobUpdate(5, 1, State.FINISHED, 1.0, metadata={"a": "b" * 40000}), NODE)
    assert call.headers["Content-Encoding"] == "gzip" and call.body is not None
    assert json.loads(gzip.decompress(call.body))["job_id"] == 5
