"""Whole jobs whose inputs only a real Rucio server knows: resolved, ordered, verified, or read where they lie."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from pilot.core.staging import ToolSettings
from pilot.core.transfer import Direction
from pilot.staging.paths import deterministic_path
from tests.copytools.making import carry, content, order
from tests.farm import DATA, Farm

TOOLS = {"pr": ["rucio"], "pw": ["copy"]}


@pytest.fixture
def lfn(tmp_path: Path) -> str:
    return f"{tmp_path.name}.{os.getpid()}.root"


def registered(rucio: dict[str, Any], lfn: str, tmp_path: Path, *rses: str) -> list[str]:
    """Put a file on these storages and into the catalogue; where it is on each."""
    settings = ToolSettings(environment={**os.environ, **rucio["env"]}, options={"rucio": {"python": rucio["python"]}})
    places = []
    for rse in rses:
        url = f"rucio://{rse}/{rucio['scope']}:{lfn}?register=1"
        (sent,) = carry([order(content(tmp_path / "up" / lfn, DATA), url, direction=Direction.OUT)], settings)
        assert sent.failure is None, sent.failure
        places.append(sent.target)
    return places


def run(farm: Farm, rucio: dict[str, Any], script: str, lfn: str, **more: Any) -> dict[str, Any]:
    """One job that reads the file, of which it tells nothing but its name."""
    options = ["--rucio-python", rucio["python"], "--source-speeds", "none"]
    more = {"scopeIn": rucio["scope"], "ddmEndPointIn": "", "fsize": "", "transferType": "", **more}
    return farm.run(script, lfn, environment=rucio["env"], options=options, **more)


def test_a_job_s_input_comes_from_the_next_replica_when_the_near_one_is_damaged(
    rucio: dict[str, Any], lfn: str, tmp_path: Path
) -> None:
    near, far = registered(rucio, lfn, tmp_path, "SITEA_POSIX", "SITEB_XROOTD")
    Path(near.removeprefix("file://").removeprefix("localhost")).write_bytes(DATA[::-1])
    queue = {"astorages": {"read_lan": ["SITEA_POSIX"], "write_lan": ["DISK"]}, "acopytools": TOOLS}
    farm = Farm(tmp_path, **queue, allow_wan=True)
    files = run(farm, rucio, f"-c 'cat {lfn} > o.txt'", lfn)
    assert farm.outcome == "finished", farm.log
    assert (farm.directory / "o.txt").read_bytes() == DATA
    assert files[lfn][0] == "transferred"
    tried = [(tool, source, code) for name, tool, source, code in farm.attempts if name == lfn]
    assert [(source.split("://")[0], code is None) for _, source, code in tried] == [("file", False), ("root", True)]
    assert {tool for tool, _, _ in tried} == {"rucio"} and tried[-1][1] == far


def test_the_queue_s_own_storages_go_first_whatever_rucio_holds_for_near(
    rucio: dict[str, Any], lfn: str, tmp_path: Path
) -> None:
    registered(rucio, lfn, tmp_path, "SITEA_POSIX", "SITEB_XROOTD", "SITEC_WEBDAV")
    for rse, scheme in (("SITEB_XROOTD", "root"), ("SITEC_WEBDAV", "https"), ("SITEA_POSIX", "file")):
        (tmp_path / rse).mkdir()
        queue = {"astorages": {"read_lan": [rse], "write_lan": ["DISK"]}, "acopytools": TOOLS}
        farm = Farm(tmp_path / rse, **queue, allow_wan=True)
        run(farm, rucio, "-c 'cp *.root o.txt'", lfn)
        assert farm.outcome == "finished", farm.log
        (source,) = [source for name, _, source, _ in farm.attempts if name == lfn]
        assert source.startswith(f"{scheme}://"), (rse, source)


def test_a_payload_reads_a_replica_where_it_lies(rucio: dict[str, Any], lfn: str, tmp_path: Path) -> None:
    (place,) = registered(rucio, lfn, tmp_path, "SITEB_XROOTD")
    queue = {"astorages": {"read_lan": ["SITEB_XROOTD"], "write_lan": ["DISK"]}, "acopytools": TOOLS}
    farm = Farm(tmp_path, **queue, direct_access_lan=True)
    files = run(farm, rucio, f"-c 'xrdcp -s {lfn} o.txt'", lfn, transferType="direct")
    assert farm.outcome == "finished", farm.log
    assert files[lfn] == ("remote_io", place)
    assert farm.catalogue() == {"GUID-0": place}
    assert (farm.directory / "o.txt").read_bytes() == DATA
    assert not (farm.directory / lfn).exists()


def unregistered(rucio: dict[str, Any], lfn: str, tmp_path: Path) -> Farm:
    """A file that lies on a storage of which the catalogue knows nothing, and a queue that names that storage."""
    url = f"rucio://SITEB_XROOTD/{rucio['scope']}:{lfn}"
    settings = ToolSettings(environment={**os.environ, **rucio["env"]}, options={"rucio": {"python": rucio["python"]}})
    (sent,) = carry([order(content(tmp_path / "up" / lfn, DATA), url, direction=Direction.OUT)], settings)
    assert sent.failure is None, sent.failure
    path = deterministic_path(rucio["scope"], lfn)
    assert sent.target.endswith(path), "the rule of paths is Rucio's own"
    tools = {"pr": ["rucio", "xrdcp"], "pw": ["copy"]}
    farm = Farm(tmp_path, astorages={"read_lan": ["SITEB_XROOTD"], "write_lan": ["DISK"]}, acopytools=tools)
    known = farm.work / "cric_ddmendpoints.json"
    protocols = {"read_lan": [{"id": 1, "endpoint": sent.target.removesuffix(path), "path": ""}]}
    storages = json.loads(known.read_text()) | {"SITEB_XROOTD": {"name": "SITEB_XROOTD", "arprotocols": protocols}}
    known.write_text(json.dumps(storages))
    return farm


def taken_by_rule(farm: Farm, lfn: str) -> bool:
    """Whether the last job got the file from the queue's storage, by a tool that asks no catalogue."""
    found = [(tool, source.partition("://")[0], code) for name, tool, source, code in farm.attempts if name == lfn]
    return farm.outcome == "finished" and found == [("xrootd", "root", None)]


def test_a_file_that_rucio_does_not_know_is_taken_by_its_rule_of_paths_unless_rucio_has_the_last_word(
    rucio: dict[str, Any], lfn: str, tmp_path: Path
) -> None:
    farm = unregistered(rucio, lfn, tmp_path)
    run(farm, rucio, f"-c 'cat {lfn} > o.txt'", lfn)
    assert taken_by_rule(farm, lfn), farm.log
    assert (farm.directory / "o.txt").read_bytes() == DATA
    assert f"{rucio['scope']}:{lfn}: the catalogue knows none: looked for by the rule of paths" in farm.log
    options = ["--rucio-python", rucio["python"], "--replicas", "rucio"]
    farm.run("-c true", lfn, environment=rucio["env"], options=options, scopeIn=rucio["scope"], fsize="")
    assert (farm.outcome, farm.error) == ("failed", 1100), farm.log


def test_inputs_come_by_the_rule_of_paths_while_rucio_is_not_there(
    rucio: dict[str, Any], lfn: str, tmp_path: Path
) -> None:
    farm = unregistered(rucio, lfn, tmp_path)
    (tmp_path / "home" / "etc").mkdir(parents=True)
    text = (Path(rucio["env"]["RUCIO_HOME"]) / "etc" / "rucio.cfg").read_text()
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # no one listens there, and no one else can
        gone = re.sub(r"(_host = http://127\.0\.0\.1):\d+", rf"\1:{nobody.getsockname()[1]}", text)
        assert gone != text
        (tmp_path / "home" / "etc" / "rucio.cfg").write_text(gone.replace("/client-token", "/none"))
        down = {**rucio, "env": {**rucio["env"], "RUCIO_HOME": str(tmp_path / "home")}}
        run(farm, down, f"-c 'cat {lfn} > o.txt'", lfn)
        assert taken_by_rule(farm, lfn), farm.log
        options = ["--rucio-python", rucio["python"], "--replicas", "rucio", "--stageout-attempts", "1"]
        farm.run("-c true", lfn, environment=down["env"], options=options, scopeIn=rucio["scope"], fsize="")
        assert (farm.outcome, farm.error) == ("failed", 1322), farm.log


def test_inputs_that_come_through_caches_are_those_by_xrootd_on_storages_that_are_no_tape(
    rucio: dict[str, Any], lfn: str, tmp_path: Path
) -> None:
    registered(rucio, lfn, tmp_path, "SITEA_POSIX", "SITEB_XROOTD", "SITED_GFAL")
    mark = (
        "from rucio.client import Client; from rucio.common.exception import Duplicate; import contextlib\n"
        "for rse in ('SITEA_POSIX', 'SITEB_XROOTD'):\n"
        "    with contextlib.suppress(Duplicate): Client().add_rse_attribute(rse, 'istape', False)\n"
    )
    subprocess.run([rucio["python"], "-c", mark], env={**os.environ, **rucio["env"]}, check=True, timeout=120)
    queue = {"astorages": {"read_lan": ["SITEA_POSIX"], "write_lan": ["DISK"]}, "acopytools": TOOLS}
    farm = Farm(tmp_path, **queue, allow_wan=True)
    run(farm, rucio, f"-c 'cat {lfn} > o.txt'", lfn, useVP="True")
    assert farm.outcome == "finished", farm.log
    (source,) = [source for name, _, source, _ in farm.attempts if name == lfn]
    assert "//data/rucio/" in source, "neither the near one that is no root:// nor the one that is not marked"
