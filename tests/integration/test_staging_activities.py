"""Which storages whole jobs use, by activity: users' and productions', outputs and log, first choice and second."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.farm import Farm

OUTPUTS = {"outFiles": "o.txt,log.tgz", "scopeOut": "s", "scopeLog": "s", "logFile": "log.tgz"}
OUTPUTS["ddmEndPointOut"] = "DISK,DISK"
ACTIVITIES = {
    "read_lan": ["DISK"],
    "read_lan_analysis": ["STAGE"],
    "write_lan": ["DISK"],
    "write_lan_analysis": ["STAGE"],
    "pl": ["OTHER"],
}


def reported(farm: Farm) -> dict[str, str]:
    """The storage of each output, as the final report tells it."""
    update = json.loads((farm.directory / "heartbeat.json").read_text())
    return {file["lfn"]: file["rse"] for file in update["report"]}


@pytest.mark.parametrize(("label", "reads", "writes"), [("user", "STAGE", "STAGE"), ("managed", "DISK", "DISK")])
def test_users_have_activities_of_their_own_on_unified_queues(
    label: str, reads: str, writes: str, tmp_path: Path
) -> None:
    farm = Farm(tmp_path, "STAGE", "OTHER", type="unified", astorages=ACTIVITIES)
    for storage in ("DISK", "STAGE"):
        farm.store("in", storage=storage)
    farm.run("-c 'cp in o.txt'", "in", prodSourceLabel=label, **{**OUTPUTS, "ddmEndPointIn": "", "ddmEndPointOut": ""})
    assert farm.outcome == "finished", farm.log
    assert [source for name, _, source, _ in farm.attempts if name == "in"] == [f"file://{farm.place('in', reads)}"]
    assert reported(farm) == {"o.txt": writes, "log.tgz": "OTHER"}
    assert farm.place("o.txt", writes).exists() and farm.place("log.tgz", "OTHER").exists()


def second(folder: Path, queue: bool | None, job: str, listed: list[str], **more: Any) -> Farm:
    """A job whose first storage, STAGE, takes nothing."""
    params = {} if queue is None else {"params": {"allow_altstageout": queue}}
    farm = Farm(folder, "STAGE", "OTHER", astorages={"read_lan": ["DISK"], "write_lan": listed}, **params)
    (folder / "stage").write_text("no directory")
    farm.store("in")
    farm.run("-c 'cp in o.txt'", "in", altStageOut=job, **{**OUTPUTS, **more}, options=["--stageout-attempts", "1"])
    return farm


@pytest.mark.parametrize(
    ("queue", "job", "second_choice"),
    [(True, "off", True), (False, "on", False), (None, "on", True), (None, "", False)],
)
def test_the_queue_says_whether_a_second_storage_is_tried_and_the_job_where_it_does_not(
    queue: bool | None, job: str, second_choice: bool, tmp_path: Path
) -> None:
    farm = second(tmp_path, queue, job, ["STAGE", "OTHER"], ddmEndPointOut="STAGE,STAGE")
    assert farm.outcome == ("finished" if second_choice else "failed"), farm.log
    if second_choice:
        assert reported(farm) == {"o.txt": "OTHER", "log.tgz": "OTHER"}
        assert farm.place("o.txt", "OTHER").exists()


def test_the_job_s_own_storage_is_the_second_choice_where_the_queue_s_is_the_first(tmp_path: Path) -> None:
    farm = second(tmp_path, True, "", ["STAGE"])
    assert farm.outcome == "finished", farm.log
    assert reported(farm) == {"o.txt": "DISK", "log.tgz": "DISK"}


def test_the_nucleus_is_never_the_second_choice(tmp_path: Path) -> None:
    farm = second(tmp_path, True, "", ["STAGE", "DISK", "OTHER"], ddmEndPointOut="STAGE,STAGE", nucleus="DISK")
    assert farm.outcome == "finished", farm.log
    assert reported(farm) == {"o.txt": "OTHER", "log.tgz": "OTHER"}


def test_a_queue_without_lists_has_its_outputs_where_the_job_says_and_the_others_with_the_pilot(tmp_path: Path) -> None:
    farm = Farm(tmp_path, "OTHER", astorages={}, copytools={"mv": {"setup": ""}})
    source = farm.store("in")
    farm.run("-c 'cp in o.txt'", "in", **{**OUTPUTS, "ddmEndPointOut": "OTHER,UNHEARD_OF"})
    assert farm.outcome == "finished", farm.log
    assert reported(farm) == {"o.txt": "OTHER", "log.tgz": "LOCAL"}
    assert farm.place("o.txt", "OTHER").exists() and (farm.work / "storage").is_dir()
    assert {name: tool for name, tool, _, _ in farm.attempts} == {"in": "symlink", "o.txt": "move", "log.tgz": "move"}
    assert source.exists(), "what a queue calls mv takes nothing away from its source"


def test_a_job_with_more_input_than_the_queue_takes_fails_before_anything_is_copied(tmp_path: Path) -> None:
    farm = Farm(tmp_path, maxinputsize=1)
    farm.store("in")
    farm.run("-c 'cp in o.txt'", "in", fsize=str(1 << 21), **OUTPUTS)
    assert (farm.outcome, farm.error) == ("failed", 1168), farm.log
    assert "in" not in [name for name, *_ in farm.attempts]


def test_the_set_up_that_a_queue_names_for_a_tool_is_used(tmp_path: Path) -> None:
    setup, script = tmp_path / "setup.sh", tmp_path / "bin" / "lsm-get"
    script.parent.mkdir()
    script.write_text('#!/bin/sh\nexec cp "${1#*//}" "$2"\n')
    script.chmod(0o755)
    setup.write_text(f'PATH="{script.parent}:$PATH"\n')
    tools = {"copytools": {"lsm": {"setup": str(setup)}, "mv": {}}, "acopytools": {"pr": ["lsm"], "pw": ["mv"]}}
    farm = Farm(tmp_path, **tools)
    path = farm.store("in")
    farm.run("-c 'cp in o.txt'", "in", inFilePaths=f"lsm://{path}", options=["--replicas", "none"], **OUTPUTS)
    assert farm.outcome == "finished", farm.log
    assert [tool for name, tool, _, _ in farm.attempts if name == "in"] == ["lsm"]
