"""The form of job descriptions: every mistake is found at once, and what has none can be begun."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pilot.cli.checking import check_file
from pilot.core.arrival import writable
from pilot.core.definition import parse
from pilot.core.errors import PilotError
from pilot.core.queue import QueueData
from pilot.core.storage import StagingSite
from pilot.engine import form
from pilot.runtime.containment import Rules, wanted
from pilot.runtime.payload_command import payload_command
from pilot.staging.plan import plan_stage_in, plan_stage_out

JOB = {"PandaID": 7, "transformation": "/bin/true", "outFiles": "o,l", "logFile": "l", "scopeOut": "s", "scopeLog": "s"}
#: The same examples every time; each costs a fraction of a millisecond.
N = 200
KEYS = (
    *("PandaID", "attemptNr", "coreCount", "minRamCount", "maxWalltime", "nGPU", "transformation", "jobPars"),
    *("inFiles", "fsize", "checksum", "scopeIn", "GUID", "inFilePaths", "outFiles", "scopeOut", "logFile", "scopeLog"),
    *("allowNoOutput", "pureOutput", "noTransferOutput", "writeToFile", "cloneJob", "debug", "eventService", "isHPO"),
    *("noExecStrCnv", "container_name", "containerOptions", "preprocess", "postprocess", "cmtConfig", "bypassStaging"),
)
WORDS = (
    *("", "NULL", "a", "a,b", "a,a", ",", "../x", "payload.stdout", "regex|a.*", "regex|(", "zip://a.zip", "o", "l"),
    *("1", "-3", "1.0", "x" * 300, "a\0b", "\ud800", "name:a,b^other:c", "nameless", "ad:0a1b2c3d", "zz:1", "md5:5"),
    *("True", "perhaps", "runonce", "http://host/", "http://host/run.sh", '{"command": "true"}', "{'execArgs': '\"'}"),
    *('{"execArgs": "-B /a"}', "{", '--overwriteQueueData={"corecount": 2}', "--overwriteQueueData=no", "y " * 70_000),
)
VALUES = st.one_of(
    st.sampled_from(WORDS),
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    st.lists(st.sampled_from(WORDS) | st.integers(), max_size=3),
    st.dictionaries(st.sampled_from(["command", "args", "execArgs", "containerExec"]), st.text(max_size=8), max_size=2),
)
ANYWHERE = StagingSite("Q", "Q", input_dir="/data", output_dir="/data")


@settings(max_examples=N, deadline=None, derandomize=True)
@given(st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=4))
@example({"jobPars": "a\0b"})
@example({"checksum": "zz:1", "inFiles": "a"})
@example({"containerOptions": {"execArgs": "'"}, "container_name": "image"})
def test_what_has_no_mistake_can_be_begun(change: dict[str, Any]) -> None:
    definition, slips = form.read(JOB | change)
    if slips:
        return
    command = payload_command(definition)
    plan_stage_in(definition, "/job", ANYWHERE)
    plan_stage_out(definition, [o for o in definition.outputs if not o.pattern], "/job", ANYWHERE)
    wanted(definition, QueueData("Q", "Q", "Q"), Rules(), "/job")
    assert definition == parse(JOB | change)
    assert not any("\0" in word for word in command.argv)


@settings(max_examples=N, deadline=None, derandomize=True)
@given(st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=4))
def test_the_first_mistake_is_the_one_that_reading_ends_with(change: dict[str, Any]) -> None:
    written, changed = writable(JOB | change)
    _, slips = form.read(JOB | change)
    try:
        parse(written)
    except PilotError as error:
        assert changed or str(slips[0].error) == str(error)


def test_every_mistake_is_told_with_its_key() -> None:
    wrong = {
        "coreCount": "many",
        "debug": "perhaps",
        "inFiles": "a,b",
        "fsize": "1",
        "scopeIn": "s,s,s",
        "scopeOut": "",
    }
    _, slips = form.read(JOB | wrong | {"outFiles": "../x,o,o", "logFile": "", "transformation": None, "cloneJob": "x"})
    told = {slip.key: str(slip.error) for slip in slips}
    assert set(told) == {"coreCount", "debug", "fsize", "scopeIn", "outFiles", "transformation", "cloneJob"}
    assert sum(slip.key == "outFiles" for slip in slips) == 2, "the name twice, and the one that leaves the directory"
    assert all(key in words and ("expected" in words or ";" in words or ":" in words) for key, words in told.items())


ONE_MISTAKE: list[tuple[dict[str, Any], str, int]] = [
    ({"transformation": ""}, "transformation", 1346),
    ({"noExecStrCnv": "True"}, "jobPars", 1346),
    ({"transformation": "http://host/"}, "transformation", 1346),
    ({"inFiles": "a", "checksum": "zz:1"}, "checksum", 1314),
    ({"inFiles": "pilot.log"}, "inFiles", 1371),
    ({"containerOptions": {"execArgs": "'"}}, "containerOptions", 0),
    ({"jobPars": "a\0b"}, "jobPars", 1302),
    ({"preprocess": {"command": "a\0b"}}, "preprocess", 1302),
    ({"jobPars": "x" * 140_000}, "jobPars", 1302),
    ({"jobName": "\ud800"}, "jobName", 1302),
    ({"jobName": [[1]]}, "jobName", 1302),
]


@pytest.mark.parametrize(("change", "key", "code"), ONE_MISTAKE)
def test_one_mistake_is_told_once(change: dict[str, Any], key: str, code: int) -> None:
    definition, slips = form.read(JOB | change)
    assert [slip.key for slip in slips] == [key]
    assert definition.job_id == 7 and definition.transformation == "", "no more than its identity"
    assert code in (0, slips[0].error.code), slips


def problems(tmp_path: Path, content: Any) -> list[str]:
    (tmp_path / "j.json").write_text(json.dumps(content))
    report = check_file(tmp_path / "j.json")
    assert report["ok"] is not bool(report["problems"])
    return list(report["problems"])


@pytest.mark.parametrize(("change", "key", "_"), ONE_MISTAKE)
def test_the_check_of_files_tells_the_same(tmp_path: Path, change: dict[str, Any], key: str, _: int) -> None:
    (problem,) = problems(tmp_path, JOB | change)
    assert problem.startswith(key)


def test_the_check_of_files_reads_what_a_job_would_have_of_its_queue(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, JOB | {"jobPars": '--overwriteQueueData={"corecount": "x"}'})
    assert "overwriteQueueData" in problem and "corecount is 'x', expected an integer" in problem


def test_the_check_of_files_finds_two_jobs_with_one_number(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, [JOB, JOB])
    assert "PandaID 7 is given to two jobs" in problem
    assert problems(tmp_path, [JOB, JOB | {"attemptNr": 2}]) == []
