"""A job description, from either dialect, becomes one definition or an error that says what to correct."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from pilot.core.definition import parse, split_secrets
from pilot.core.errors import (
    BadOutputFileName,
    ConversionFailure,
    FileExists,
    LfnTooLong,
    NotDefined,
    NotSameLength,
    PilotError,
)
from pilot.core.job import Step


def describe(**keys: Any) -> dict[str, Any]:
    """A simulation job with two inputs, one output and a log, as the v1 dialect gives it."""
    job: dict[str, Any] = {
        "PandaID": 700000001,
        "taskID": 40000001,
        "attemptNr": 3,
        "transformation": "Demo_tf.py",
        "jobPars": "--inputFile=in_a.root,in_b.root --outputFile=out_1.root",
        "inFiles": "in_a.root,in_b.root",
        "scopeIn": "data,mc",
        "GUID": "g-a,g-b",
        "fsize": "1048576,2097152",
        "checksum": "ad:0a1b2c3d,md5:d41d8cd98f00b204e9800998ecf8427e",
        "realDatasetsIn": "data:ds.a,mc:ds.b",
        "ddmEndPointIn": "SITE_A,SITE_B",
        "prodDBlockToken": "NULL,local",
        "outFiles": "out_1.root,demo.log.tgz,out_2.root",
        "scopeOut": "one,two",
        "scopeLog": "logs",
        "realDatasets": "ds.1,ds.log,ds.2",
        "ddmEndPointOut": "OUT_1,LOGS,OUT_2",
        "logFile": "demo.log.tgz",
        "logGUID": "guid-of-log",
        "coreCount": 8,
        "minRamCount": 2000,
        "maxDiskCount": 8000,
        "maxCpuCount": 36000,
        "maxWalltime": 43200,
    }
    return {**job, **keys}


def as_classic(job: dict[str, Any]) -> dict[str, str]:
    """The same as flat text: every value a string, nothing is `NULL`."""
    return {key: "NULL" if value is None else str(value) for key, value in job.items()}


def test_text_and_json_give_the_same_definition() -> None:
    job = describe(debug=True, jobsetID=None, loopingCheck=False)
    classic, modern = parse(as_classic(job)), parse(job)
    assert {f: getattr(classic, f) for f in classic.__struct_fields__ if f != "raw"} == {
        f: getattr(modern, f) for f in modern.__struct_fields__ if f != "raw"
    }
    assert (modern.cores, modern.memory_mb, modern.disk_mb, modern.max_cpu_s) == (8, 2000, 8000, 36000)
    assert (modern.max_wall_s, modern.attempt, modern.debug, modern.looping_check) == (43200, 3, True, False)


def test_positional_lists_are_joined_into_files() -> None:
    first, second = parse(describe()).inputs
    assert (first.lfn, first.scope, first.guid, first.size) == ("in_a.root", "data", "g-a", 1048576)
    assert (first.token, second.token) == ("", "local")
    assert (second.checksum, second.dataset, second.rse) == (
        "md5:d41d8cd98f00b204e9800998ecf8427e",
        "mc:ds.b",
        "SITE_B",
    )


def test_the_log_takes_its_scope_at_its_place_among_the_outputs() -> None:
    job = parse(describe())
    assert [(f.lfn, f.scope, f.dataset, f.rse) for f in job.outputs] == [
        ("out_1.root", "one", "ds.1", "OUT_1"),
        ("out_2.root", "two", "ds.2", "OUT_2"),
    ]
    assert job.log is not None
    assert (job.log.scope, job.log.guid, job.log.dataset, job.log.rse) == ("logs", "guid-of-log", "ds.log", "LOGS")


def test_a_scope_list_that_counts_the_log_is_taken_as_it_is() -> None:
    job = parse(describe(scopeOut="one,l,two"))
    assert [f.scope for f in job.all_outputs] == ["one", "two", "l"]


def test_a_log_outside_the_outputs_is_still_made() -> None:
    job = parse({"PandaID": 5, "logFile": "x.log.tgz", "scopeLog": "s"})
    assert job.outputs == () and job.log is not None and job.log.scope == "s"


def test_one_number_is_enough_for_a_job() -> None:
    job = parse({"PandaID": "5"})
    assert (job.job_id, job.cores, job.inputs, job.outputs, job.log) == (5, 1, (), (), None)


def test_archives_and_urls_are_inputs_with_plain_names() -> None:
    job = parse({"PandaID": 5, "inFiles": "zip://a.zip,gs://bucket/deep/b.root", "prodDBlockToken": "42/1000,NULL"})
    assert [(f.lfn, f.archive, f.path) for f in job.inputs] == [
        ("a.zip", True, ""),
        ("b.root", False, "gs://bucket/deep/b.root"),
    ]
    assert (job.inputs[0].storage_id, job.inputs[0].path_convention) == (42, 1000)


def test_paths_of_staged_inputs_are_taken_by_position() -> None:
    job = parse({"PandaID": 5, "inFiles": "a,b", "inFilePaths": "/data/a,/data/b"})
    assert [f.path for f in job.inputs] == ["/data/a", "/data/b"]


@pytest.mark.parametrize("expression", [r"a_\d{1,3}\.root", r"(a,b)[,\]]{2,}", r"[](,]+", r"\{a"])
def test_an_expression_with_commas_is_one_output(expression: str) -> None:
    job = parse({"PandaID": 5, "outFiles": f"x.txt,regex|{expression},5.log", "scopeOut": "s,t", "logFile": "5.log"})
    assert [(file.lfn, file.pattern, file.scope) for file in job.outputs] == [
        ("x.txt", "", "s"),
        (f"regex|{expression}", expression, "t"),
    ]


def test_variable_outputs_carry_their_pattern_and_optional_ones_may_miss() -> None:
    job = parse({"PandaID": 5, "outFiles": r"regex|out_\d+\.root,may.txt", "allowNoOutput": "may.txt"})
    assert [(f.pattern, f.optional) for f in job.outputs] == [(r"out_\d+\.root", False), ("", True)]


def test_one_file_named_twice_is_one_input() -> None:
    assert len(parse({"PandaID": 5, "inFiles": "a,a", "scopeIn": "s,s"}).inputs) == 1
    with pytest.raises(FileExists, match="scopes 's' and 't'"):
        parse({"PandaID": 5, "inFiles": "a,a", "scopeIn": "s,t"})


def test_overlays_zip_map_and_image_are_taken_out_of_the_parameters() -> None:
    pars = (
        """--in=a.root --overwriteQueueData='{"maxtime": 3600, "x": {"y": "}"}}' --n 3 """
        """--overwriteStorageData={'S': {'state': None}} <ZIP_MAP>z1:a,b z2:c</ZIP_MAP> """
        """--containerImage=docker://img:1 --accessmode=direct --end"""
    )
    job = parse(describe(jobPars=pars))
    assert job.parameters == "--in=a.root --n 3 --accessmode=direct --end"
    assert job.queue_overlay == {"maxtime": 3600, "x": {"y": "}"}}
    assert job.storage_overlay == {"S": {"state": None}}
    assert job.zip_map == {"z1": ("a", "b"), "z2": ("c",)}
    assert (job.image, job.access_mode, job.direct_access) == ("docker://img:1", "direct", True)


@pytest.mark.parametrize(
    "pars", ["--overwriteQueueData={broken", "--overwriteQueueData=3 {}", "--overwriteQueueData={a}"]
)
def test_an_overlay_that_cannot_be_read_is_named(pars: str) -> None:
    with pytest.raises(ConversionFailure, match="--overwriteQueueData"):
        parse(describe(jobPars=pars))


def test_base64_parameters_are_decoded_and_plain_words_are_not() -> None:
    plain = "--maxEvents=10 --inputFile=a.root"
    assert parse(describe(jobPars=base64.b64encode(plain.encode()).decode())).parameters == plain
    for word in ("deadbeef", "12345678", "runAll12", "input.root", "aGVsbG8="):
        assert parse(describe(jobPars=word)).parameters == word


def test_write_to_file_names_its_lists() -> None:
    job = parse(describe(writeToFile="tmpin_ds:in_a.root,in_b.root^inputFor_out:in_a.root"))
    assert job.write_to_file == (("tmpin_ds", ("in_a.root", "in_b.root")), ("inputFor_out", ("in_a.root",)))


def test_a_step_is_read_from_an_object_and_from_its_text() -> None:
    step = {"command": "pre.sh", "args": "-n 1"}
    for form in (step, json.dumps(step), str(step)):
        assert parse(describe(preprocess=form)).preprocess == Step("pre.sh", "-n 1")


def test_direct_access_is_asked_by_the_transfer_type_and_by_users_unless_they_want_copies() -> None:
    assert parse(describe(transferType="direct")).direct_access
    assert parse(describe(transformation="https://host/run.sh")).direct_access
    assert not parse(describe()).direct_access
    assert not parse(describe(transformation="https://host/run.sh", jobPars="--useLocalIO")).direct_access


def test_a_platform_may_name_a_user_platform() -> None:
    job = parse(describe(cmtConfig="x86_64-el9-gcc13-opt@el9"))
    assert (job.platform, job.user_platform) == ("x86_64-el9-gcc13-opt", "el9")


def test_unknown_keys_are_kept_and_secrets_are_not() -> None:
    raw = describe(newKey={"a": 1}, secrets='{"TOKEN": "s3cr3t-value"}', pilotSecrets={"K": "other-secret"})
    job = parse(raw)
    assert job.raw["newKey"] == {"a": 1}
    assert "s3cr3t" not in repr(job) and "other-secret" not in repr(job)
    clean, secrets = split_secrets(raw)
    assert secrets.user == {"TOKEN": "s3cr3t-value"} and secrets.pilot == {"K": "other-secret"}
    assert "s3cr3t" not in repr(secrets) and "secrets" not in clean
    assert {"s3cr3t-value", "other-secret"} <= set(secrets.values())


def test_secrets_inside_secrets_are_known_by_value_too() -> None:
    inner = json.dumps([{"username": "someone-long", "token": "abc-token-xyz"}])
    _, secrets = split_secrets({"secrets": json.dumps({"DOCKER_TOKENS": inner})})
    assert {inner, "abc-token-xyz"} <= set(secrets.values())


LONG = "x" * 256

BAD: list[tuple[dict[str, Any], type[PilotError], str]] = [
    ({"PandaID": None}, NotDefined, "PandaID is missing"),
    ({"PandaID": "abc"}, ConversionFailure, "PandaID is 'abc', expected an integer"),
    ({"PandaID": -4}, ConversionFailure, "PandaID is -4"),
    ({"PandaID": True}, ConversionFailure, "PandaID is True"),
    ({"PandaID": 10**30}, ConversionFailure, "PandaID is 1"),
    ({"coreCount": 1.5}, ConversionFailure, "coreCount is 1.5"),
    ({"coreCount": [1]}, ConversionFailure, "coreCount"),
    ({"debug": "perhaps"}, ConversionFailure, "debug is 'perhaps', expected True or False"),
    ({"jobName": {"a": 1}}, ConversionFailure, "jobName"),
    ({"cloneJob": "twice"}, ConversionFailure, "cloneJob is 'twice'"),
    ({"containerOptions": "[1]"}, ConversionFailure, "containerOptions"),
    ({"scopeIn": "a,b,c"}, NotSameLength, "scopeIn has 3 entries, inFiles has 2"),
    ({"fsize": "1"}, NotSameLength, "fsize has 1 entries, inFiles has 2"),
    ({"fsize": "1,many"}, ConversionFailure, "fsize of 'in_b.root' is 'many'"),
    ({"scopeOut": "a"}, NotSameLength, "scopeOut has 1 entries, outFiles has 3"),
    ({"inFiles": "../a,b"}, BadOutputFileName, "inFiles: '../a' leaves"),
    ({"inFiles": "a/b,c"}, BadOutputFileName, "inFiles: 'a/b' leaves"),
    ({"inFiles": "..,c"}, BadOutputFileName, "'..' leaves"),
    ({"outFiles": "a\0b,c,d"}, BadOutputFileName, "control character"),
    ({"outFiles": "a\nb,c,d"}, BadOutputFileName, "control character"),
    ({"outFiles": "a,,d"}, BadOutputFileName, "outFiles: a name is empty"),
    ({"outFiles": "a,a,d"}, BadOutputFileName, "'a' is named twice"),
    ({"outFiles": "regex|(,b,c"}, BadOutputFileName, "no regular expression"),
    ({"outFiles": "regex|../.*,b,c"}, BadOutputFileName, "without '/'"),
    ({"inFiles": f"{LONG},b"}, LfnTooLong, "inFiles"),
    ({"inFiles": f"{'é' * 128},b"}, LfnTooLong, "has 256"),
    ({"logFile": "../log"}, BadOutputFileName, "logFile"),
    ({"writeToFile": "name"}, ConversionFailure, "writeToFile"),
    ({"writeToFile": "../name:a"}, BadOutputFileName, "writeToFile"),
]


@pytest.mark.parametrize(("keys", "error", "words"), BAD, ids=[words for _, _, words in BAD])
def test_a_broken_description_says_which_key_is_wrong(
    keys: dict[str, Any], error: type[PilotError], words: str
) -> None:
    with pytest.raises(error) as caught:
        parse(describe(**keys))
    assert words in str(caught.value)


def test_null_in_every_form_is_nothing() -> None:
    for nothing in (None, "NULL", "None", "", "null", " NULL "):
        job = parse(
            describe(
                inFiles=nothing,
                fsize=nothing,
                GUID=nothing,
                coreCount=nothing,
                cloneJob=nothing,
                **{
                    key: nothing
                    for key in ("scopeIn", "checksum", "realDatasetsIn", "ddmEndPointIn", "prodDBlockToken")
                },
            )
        )
        assert job.inputs == () and job.cores == 1 and job.clone == ""
