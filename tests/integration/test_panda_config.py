"""`pilot config`: what is set, and what is wrong with a file before a pilot meets it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from jsonschema import Draft202012Validator

from pilot.cli.main import cli
from pilot.core import definition, definition_files
from pilot.core.definition import parse
from pilot.core.errors import PilotError
from pilot.core.settings import setting_names
from pilot.lib import datafiles
from pilot.lib.validate import known_keys, problems

JOB = {"PandaID": 1, "transformation": "t", "coreCount": "8", "outFiles": "o,l", "logFile": "l", "scopeOut": "s"}


def run(*words: str, **environ: str) -> Result:
    return CliRunner().invoke(cli, ["config", *words], env=environ, standalone_mode=False)


def validated(tmp_path: Path, content: Any, name: str = "x.json") -> tuple[int, dict[str, Any]]:
    (tmp_path / name).write_text(content if isinstance(content, str) else json.dumps(content))
    result = run("validate", "--json", str(tmp_path / name))
    assert result.exception is None, result.exception
    return int(result.return_value or 0), json.loads(result.output)["files"][0]


def test_show_tells_where_every_value_comes_from(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text("[pilot]\nslots = '3'\nqueue = 'FILE'\n")
    result = run("show", "--json", "--config", str(tmp_path / "c.toml"), PILOT_QUEUE="ENV", HOME=str(tmp_path))
    shown = json.loads(result.output)["settings"]
    assert list(shown) == setting_names()
    assert (shown["queue"]["value"], shown["queue"]["origin"]) == ("ENV", "$PILOT_QUEUE")
    assert (shown["slots"]["value"], shown["slots"]["origin"]) == ("3", str(tmp_path / "c.toml"))
    assert shown["url"]["origin"] == "default"
    assert "$PILOT_QUEUE" in run("show", PILOT_QUEUE="ENV").output


def test_query_gives_bare_values(tmp_path: Path) -> None:
    assert run("query", "slots", "server-updates").output.splitlines() == ["1", "true"]
    with_queue = tmp_path / "q.json"
    with_queue.write_text(json.dumps({"nickname": "Q", "maxtime": 7, "copytools": {"rucio": {}}}))
    words = ["--queue", "Q", "--queuedata-url", str(with_queue)]
    assert run("query", "queue.max_time_s", *words).output == "7\n"
    assert json.loads(run("query", "--json", "queue.copytools", *words).output) == {
        "queue.copytools": {"default": ["rucio"]}
    }
    (tmp_path / "s.json").write_text(json.dumps({"RSE": {"type": "DATADISK"}}))
    result = run("query", "--json", "storage.RSE", *words, "--storagedata-url", str(tmp_path / "s.json"))
    assert json.loads(result.output)["storage.RSE"]["kind"] == "DATADISK"


@pytest.mark.parametrize(
    ("name", "words"), [("slotz", "slots"), ("queue.max_time", "max_time_s"), ("storage.NO", "no storage 'NO'")]
)
def test_a_wrong_name_is_answered_with_the_nearest_one(tmp_path: Path, name: str, words: str) -> None:
    error = run("query", name, "--queue", "Q").exception
    assert error is not None and words in str(error.message if hasattr(error, "message") else error)


def test_good_jobs_are_told_so(tmp_path: Path) -> None:
    code, report = validated(tmp_path, [JOB, {**JOB, "PandaID": 2, "newKey": {"x": 1}}])
    assert (code, report["ok"], report["kind"], report["notes"]) == (0, True, "2 jobs", [])


def test_job_lines_and_jobs_without_a_number_are_fine(tmp_path: Path) -> None:
    bare = {key: value for key, value in JOB.items() if key != "PandaID"}
    code, report = validated(tmp_path, f"{json.dumps(bare)}\n{json.dumps(bare)}\n", "x.jsonl")
    assert (code, report["kind"]) == (0, "2 jobs")


BAD: list[tuple[dict[str, Any], str]] = [
    ({"coreCount": "many"}, "coreCount"),
    ({"coreCount": 1.5}, "coreCount"),
    ({"PandaID": True}, "PandaID"),
    ({"debug": "perhaps"}, "debug"),
    ({"jobName": ["x"]}, "jobName"),
    ({"outFiles": {"a": 1}}, "outFiles"),
    ({"preprocess": 5}, "preprocess"),
    ({"scopeOut": "a,b,c"}, "scopeOut has 3 entries"),
    ({"outFiles": "../o,l"}, "leaves the job's directory"),
    ({"cloneJob": "x"}, "cloneJob"),
]


@pytest.mark.parametrize(("change", "words"), BAD)
def test_a_bad_job_is_found_before_it_runs(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    code, report = validated(tmp_path, {**JOB, **change})
    assert code == 1 and not report["ok"] and words in report["problems"][0]


@pytest.mark.parametrize(("change", "words"), BAD)
def test_what_the_check_refuses_the_pilot_refuses(change: dict[str, Any], words: str) -> None:
    with pytest.raises(PilotError):
        parse({**JOB, **change})


def test_a_slip_in_a_key_is_noted(tmp_path: Path) -> None:
    code, report = validated(tmp_path, {**JOB, "corecount": 1})
    assert code == 0 and "did you mean 'coreCount'" in report["notes"][0]


def test_every_key_that_is_read_is_described() -> None:
    source = Path(definition.__file__).read_text() + Path(definition_files.__file__).read_text()
    read = set(re.findall(r'fields\.\w+\("(\w+)"', source)) | set(re.findall(r'_parallel\(fields, "(\w+)"', source))
    assert read >= {"PandaID", "inFiles", "realDatasets"} and read <= set(known_keys("job"))


@pytest.mark.parametrize("nothing", [None, "NULL", "None", ""])
def test_nothing_in_any_form_is_fine(nothing: Any) -> None:
    assert list(problems({**dict.fromkeys(known_keys("job"), nothing), "PandaID": "5"}, "job")) == []


def test_queue_data_is_checked(tmp_path: Path) -> None:
    code, report = validated(tmp_path, {"A": {"copytools": {}}, "B": {"copytools": {}, "maxrss": "much"}})
    assert (code, report["kind"]) == (1, "queue data") and "'B'" in report["problems"][0]
    assert validated(tmp_path, {"nickname": "Q", "maxrss": 5})[0] == 0


def test_configuration_files_are_checked(tmp_path: Path) -> None:
    code, report = validated(tmp_path, "[pilot]\nslot = '1'\nlifetime = 'x'\n[infos]\n", "c.toml")
    text = " ".join(report["problems"])
    assert code == 1 and "'slots'" in text and "lifetime" in text and "did you mean 'info'" in text
    assert validated(tmp_path, "[pilot]\nslots = '1'\n", "c.toml")[0] == 0


def test_what_ships_with_the_program_is_good() -> None:
    for name in datafiles.names("experiments", ".toml"):
        assert run("validate", str(datafiles.ROOT / f"experiments/{name}.toml")).return_value == 0
    for name in datafiles.names("schema", ".json"):
        Draft202012Validator.check_schema(json.loads(datafiles.text(f"schema/{name}.json")))


@pytest.mark.parametrize("content", ["", "{", "[pilot", "3"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: str) -> None:
    name = "x.toml" if content.startswith("[") else "x.json"
    (tmp_path / name).write_text(content)
    result = run("validate", str(tmp_path / name))
    assert result.exception is not None and name in str(getattr(result.exception, "message", ""))
