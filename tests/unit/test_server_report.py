"""The adder: how the server judges a final report."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pilot.server.report import judge

GOOD: dict[str, Any] = {"guid": "G", "fsize": 3, "adler32": "0a1b2c3d"}
SPEC: dict[str, Any] = {
    "inFiles": "in.root",
    "outFiles": "out.root,job.log.tgz",
    "logFile": "job.log.tgz",
    "prodSourceLabel": "managed",
}


def outcome(report: object, state: str = "finished", metadata: str | None = None, **spec: Any) -> Any:
    text = report if isinstance(report, str) or report is None else json.dumps(report)
    return judge({**SPEC, **spec}, state, text, metadata, {})


def complete(**more: Any) -> dict[str, Any]:
    return {"out.root": GOOD, "job.log.tgz": GOOD, **more}


def test_a_complete_report_finishes_the_job() -> None:
    end = outcome(complete())
    assert (end.status, end.diag) == ("finished", None)
    assert [(file.lfn, file.role, file.status) for file in end.files] == [
        ("out.root", "output", "ready"),
        ("job.log.tgz", "log", "ready"),
    ]


@pytest.mark.parametrize("missing", ["out.root", "job.log.tgz"])
def test_a_missing_output_fails_a_finished_job(missing: str) -> None:
    report = complete()
    del report[missing]
    end = outcome(report)
    assert (end.status, end.ddm_error_code) == ("failed", 200)
    assert end.diag == f"expected output {missing} is missing in pilot JSON"


def test_a_missing_output_that_is_allowed_is_nooutput() -> None:
    end = outcome({"job.log.tgz": GOOD}, allowNoOutput="out.root")
    assert end.status == "finished"
    assert ("out.root", "nooutput") in [(file.lfn, file.status) for file in end.files]


def test_an_event_service_job_need_not_list_its_outputs() -> None:
    assert outcome({"job.log.tgz": GOOD}, eventService="True").status == "finished"


def test_a_failed_job_needs_no_more_than_what_it_has() -> None:
    end = outcome({"job.log.tgz": GOOD}, "failed")
    assert (end.status, end.diag) == ("failed", None)


@pytest.mark.parametrize("state", ["finished", "failed"])
def test_an_extra_file_fails_the_job(state: str) -> None:
    end = outcome(complete(**{"other.root": GOOD}), state)
    assert end.status == "failed"
    assert "other.root" in end.diag


@pytest.mark.parametrize(("name", "good"), [("out.root._1", True), ("out.root_12", True), ("out.root2", False)])
def test_a_variable_output_carries_a_number_after_the_declared_name(name: str, good: bool) -> None:
    assert outcome({"job.log.tgz": GOOD, name: GOOD}).status == ("finished" if good else "failed")


@pytest.mark.parametrize(("name", "good"), [("hist_1.root", True), ("hist_1.root.bak", False)])
def test_a_regex_output_takes_what_matches_in_full(name: str, good: bool) -> None:
    end = outcome({"job.log.tgz": GOOD, name: GOOD}, outFiles=r"regex|hist_\d\.root,job.log.tgz")
    assert end.status == ("finished" if good else "failed")


def test_a_regex_output_may_have_a_comma() -> None:
    end = outcome({"job.log.tgz": GOOD, "hist_12.root": GOOD}, outFiles=r"regex|hist_\d{1,2}\.root,job.log.tgz")
    assert end.status == "finished"


def test_a_regex_output_without_any_file_is_missing() -> None:
    assert outcome({"job.log.tgz": GOOD}, outFiles=r"regex|.*\.root,job.log.tgz").status == "failed"


@pytest.mark.parametrize(("label", "status"), [("user", "skipped"), ("managed", "failed")])
def test_a_listed_input_was_not_read(label: str, status: str) -> None:
    end = outcome(complete(**{"in.root": {"guid": "G"}}), prodSourceLabel=label)
    assert end.status == "finished"
    assert ("in.root", "input", status) in [(file.lfn, file.role, file.status) for file in end.files]


@pytest.mark.parametrize(
    "entry",
    [
        {"fsize": 3, "adler32": "0a1b2c3d"},
        {"guid": "G", "adler32": "0a1b2c3d"},
        {"guid": "G", "fsize": "3", "adler32": "0a1b2c3d"},
        {"guid": "G", "fsize": True, "adler32": "0a1b2c3d"},
        {"guid": "G", "fsize": -1, "adler32": "0a1b2c3d"},
        {"guid": "G", "fsize": 3},
        {"guid": "G", "fsize": 3, "adler32": "a1b2c3d"},
        {"guid": "G", "fsize": 3, "md5sum": "0a1b2c3d"},
    ],
)
def test_an_entry_without_its_mandatory_values_fails_the_job(entry: dict[str, Any]) -> None:
    end = outcome(complete(**{"out.root": entry}))
    assert end.status == "failed"
    assert "out.root" in end.diag


def test_md5_is_as_good_as_adler32() -> None:
    assert outcome(complete(**{"out.root": {"guid": "G", "fsize": 3, "md5sum": "0" * 32}})).status == "finished"


def test_an_input_without_guid_fails_the_job() -> None:
    assert outcome(complete(**{"in.root": {}})).status == "failed"


@pytest.mark.parametrize("report", [None, "", "{}", "[]", "<xml/>", '{"out.root": 1}'])
def test_an_unreadable_report_is_a_ddm_error_if_nothing_else_is_known(report: str | None) -> None:
    end = outcome(report, "failed")
    assert (end.status, end.ddm_error_code) == ("failed", 200)
    assert end.diag.startswith("Could not get GUID/LFN/MD5/FSIZE/SURL from pilot JSON")


def test_an_error_that_the_pilot_named_goes_before_an_unreadable_report() -> None:
    end = judge(SPEC, "failed", None, None, {"pilot_error_code": 1305})
    assert (end.status, end.diag) == ("failed", None)


def test_events_and_guids_come_from_the_job_report() -> None:
    subs = [{"name": "out.root", "nentries": 2304, "file_guid": "TRUE"}]
    metadata = json.dumps({"files": {"output": [{"subFiles": subs}]}})
    file = outcome(complete(), metadata=metadata).files[0]
    assert (file.facts["nevents"], file.facts["guid"]) == (2304, "TRUE")


@pytest.mark.parametrize("metadata", ["", "x", "[]", '{"files": {}}', '{"files": {"output": [{"subFiles": [1]}]}}'])
def test_a_strange_job_report_is_no_obstacle(metadata: str) -> None:
    assert outcome(complete(), metadata=metadata).status == "finished"
