"""The Rucio copy tool against a real Rucio server with four storages behind it."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from pilot.core.staging import ToolSettings
from pilot.core.transfer import Checksum, Direction, Endpoint, Transfer
from tests.copytools.making import adler, carry, content, order

RSES = ["SITEA_POSIX", "SITEB_XROOTD", "SITEC_WEBDAV", "SITED_GFAL"]


@pytest.fixture(scope="module")
def settings(rucio: dict[str, Any]) -> ToolSettings:
    return ToolSettings(environment={**os.environ, **rucio["env"]}, options={"rucio": {"python": rucio["python"]}})


def name(tmp_path: Path) -> str:
    return f"{tmp_path.name}.{os.getpid()}.dat"


@pytest.mark.parametrize("rse", RSES)
def test_a_file_is_sent_registered_and_fetched_by_its_name(
    rse: str, rucio: dict[str, Any], settings: ToolSettings, tmp_path: Path
) -> None:
    data = os.urandom(300_000)
    did = f"{rucio['scope']}:{name(tmp_path)}"
    source = content(tmp_path / "f", data)
    (sent,) = carry([order(source, f"rucio://{rse}/{did}?register=1", direction=Direction.OUT)], settings)
    assert sent.failure is None, sent.failure
    assert sent.target.startswith(rucio["rses"][rse]["scheme"]), sent.target
    assert sent.checksums == {"adler32": adler(data)[0].value}
    (back,) = carry([order(f"rucio:///{did}", tmp_path / "back", checksums=adler(data))], settings)
    assert back.failure is None, back.failure
    assert (tmp_path / "back").read_bytes() == data


def test_what_is_not_registered_is_fetched_by_its_address(
    rucio: dict[str, Any], settings: ToolSettings, tmp_path: Path
) -> None:
    did = f"{rucio['scope']}:{name(tmp_path)}"
    source = content(tmp_path / "f", b"data")
    (sent,) = carry([order(source, f"rucio://SITEB_XROOTD/{did}", direction=Direction.OUT)], settings)
    assert sent.failure is None, sent.failure
    (unknown,) = carry([order(f"rucio:///{did}", tmp_path / "no", direction=Direction.IN)], settings)
    assert unknown.failure and unknown.failure.code == 1331, unknown.failure
    (back,) = carry([order(sent.target, tmp_path / "back", checksums=adler(b"data"))], settings)
    assert back.failure is None, back.failure


def test_a_damaged_replica_is_refused_and_leaves_nothing(
    rucio: dict[str, Any], settings: ToolSettings, tmp_path: Path
) -> None:
    did = f"{rucio['scope']}:{name(tmp_path)}"
    (sent,) = carry(
        [order(content(tmp_path / "f", b"data"), f"rucio://SITEA_POSIX/{did}?register=1", direction=Direction.OUT)],
        settings,
    )
    assert sent.failure is None, sent.failure
    Path(sent.target.removeprefix("file://").removeprefix("localhost")).write_bytes(b"DATA")
    (back,) = carry([order(f"rucio:///{did}", tmp_path / "o" / "f", direction=Direction.IN)], settings, max_attempts=1)
    assert back.failure is not None
    assert (back.failure.code, back.failure.retry) == (1171, False), back.failure
    assert adler(b"data")[0].value in back.failure.message and adler(b"DATA")[0].value in back.failure.message
    by_address = Transfer(
        lfn=name(tmp_path),
        scope=rucio["scope"],
        sources=(Endpoint(sent.target, rse="SITEA_POSIX"),),
        targets=(Endpoint(str(tmp_path / "o" / "f")),),
        direction=Direction.IN,
        checksums=(Checksum("md5", hashlib.md5(b"data").hexdigest()),),
        copytool="rucio",
    )
    (back,) = carry([by_address], settings, max_attempts=1)
    assert back.failure and back.failure.code == 1145, back.failure
    assert os.listdir(tmp_path / "o") == []


def test_replicas_are_told_with_size_and_checksum(
    rucio: dict[str, Any], settings: ToolSettings, tmp_path: Path
) -> None:
    from pilot.plugins.copytools.rucio import Rucio

    did = f"{rucio['scope']}:{name(tmp_path)}"
    for rse in ("SITEA_POSIX", "SITEB_XROOTD"):
        source = content(tmp_path / "f", b"data")
        (sent,) = carry([order(source, f"rucio://{rse}/{did}?register=1", direction=Direction.OUT)], settings)
        assert sent.failure is None, sent.failure
    tool = Rucio(settings)
    try:
        found = tool.replicas([did, f"{rucio['scope']}:no-such"], ["root", "file"], {"site": "SITEA"})
        assert found[did]["size"] == 4
        assert found[did]["sums"]["adler32"] == adler(b"data")[0].value
        assert {place["rse"] for place in found[did]["places"]} == {"SITEA_POSIX", "SITEB_XROOTD"}
    finally:
        tool.close()


def test_a_server_that_is_not_there_and_a_wrong_password_are_told(
    rucio: dict[str, Any], settings: ToolSettings, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    (home / "etc").mkdir(parents=True)
    text = (Path(rucio["env"]["RUCIO_HOME"]) / "etc" / "rucio.cfg").read_text()
    (home / "etc" / "rucio.cfg").write_text(
        text.replace(f"password = {rucio['password']}", "password = wrong").replace("/client-token", "/none")
    )
    env = {**settings.environment, "RUCIO_HOME": str(home)}
    tools = ToolSettings(environment=env, options=settings.options)
    (outcome,) = carry([order("rucio:///test:x", tmp_path / "x", direction=Direction.IN)], tools, max_attempts=1)
    assert outcome.failure and outcome.failure.code in (1364, 1338, 1331), outcome.failure
    assert "wrong" not in outcome.failure.message
