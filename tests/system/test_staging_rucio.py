"""The Rucio copy tool against a real Rucio server with four storages behind it."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pilot.core.staging import ToolSettings
from pilot.core.transfer import Checksum, Direction, Endpoint, Transfer
from tests.copytools.making import adler, carry, content, order
from tests.counted_disk import counted_disk

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


@pytest.mark.parametrize("rse", ["SITEB_XROOTD", "SITEC_WEBDAV"])
def test_a_storage_of_rucio_and_a_folder_are_fed_from_one_read(
    rse: str,
    rucio: dict[str, Any],
    pki: dict[str, Any],
    settings: ToolSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is registered with what it is, may be found and fetched, and a second file of its name is refused."""
    monkeypatch.setattr("pilot.lib.sharedread._PATIENCE_S", 600.0)  # the clients start slowly on a busy machine
    data = os.urandom(9_000_001)
    did = f"{rucio['scope']}:{name(tmp_path)}"
    tools = msgspec.structs.replace(settings, proxy_file=pki["proxy"], ca_path=pki["certificates"])
    with counted_disk(tmp_path / "counted", data) as disk:
        targets = (Endpoint(f"rucio://{rse}/{did}?register=1"), Endpoint(str(tmp_path / "here")))
        order = Transfer("f", (Endpoint(str(disk.path)),), targets, direction=Direction.OUT, copytool="copy rucio")
        (sent,) = carry([order], tools)
        assert sent.failure is None, sent.failure
        assert [attempt.copytool for attempt in sent.attempts] in (["rucio", "copy"], ["copy", "rucio"])
        assert disk.taken == len(data)
        assert sent.target.startswith(rucio["rses"][rse]["scheme"]), sent.target
        assert sent.checksums == {"adler32": adler(data)[0].value}
        (again,) = carry([order], tools, max_attempts=1)
        assert again.failure and again.failure.code == 1221, again.failure
    (back,) = carry([Transfer("f", (Endpoint(f"rucio:///{did}"),), (Endpoint(str(tmp_path / "back")),))], settings)
    assert back.failure is None, back.failure
    assert (tmp_path / "back").read_bytes() == (tmp_path / "here").read_bytes() == data


def test_a_dataset_gets_what_passed_beside_the_upload_client(
    rucio: dict[str, Any], settings: ToolSettings, tmp_path: Path
) -> None:
    data, lfn = os.urandom(5_000_000), name(tmp_path)
    dataset = f"{rucio['scope']}:set.{lfn}"
    order = Transfer(
        lfn,
        (Endpoint(str(content(tmp_path / "f", data))),),
        (Endpoint(f"rucio://SITEB_XROOTD/{rucio['scope']}:{lfn}?register=1"), Endpoint(str(tmp_path / "here"))),
        scope=rucio["scope"],
        dataset=dataset,
        direction=Direction.OUT,
    )
    (sent,) = carry([order], settings)
    assert sent.failure is None, sent.failure
    script = (
        "import sys; from rucio.client import Client; print([f['name'] for f in Client().list_files(*sys.argv[1:])])"
    )
    done = subprocess.run(
        [rucio["python"], "-c", script, *dataset.split(":")],
        env={**os.environ, **rucio["env"]},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.strip() == str([lfn]), done.stderr
