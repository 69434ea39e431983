"""Whole jobs whose inputs only a real Rucio server knows: resolved, ordered, verified, or read where they lie."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from pilot.core.staging import ToolSettings
from pilot.core.transfer import Direction
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
