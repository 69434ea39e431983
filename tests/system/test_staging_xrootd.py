"""The copy tool for XRootD against a real server, by xrdcp and by the Python bindings."""

from __future__ import annotations

import os
import shutil
import socket
import threading
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pilot.core.staging import ToolSettings
from pilot.core.transfer import Direction
from pilot.lib.cancel import Cancel
from tests.copytools.making import adler, carry, content, order
from tests.copytools.places.copy import Directory
from tests.copytools.rudeness import KINDS, rude
from tests.copytools.suite import *  # noqa: F403
from tests.copytools.trouble import *  # noqa: F403


class Exported(Directory):
    """A folder of the server's, with files of the server's own user."""

    def below(self, name: str) -> Directory:
        made = super().below(name)
        made.root.chmod(0o777)
        return made

    def store(self, name: str, data: bytes) -> None:
        super().store(name, data)
        shutil.chown(self.root / name, "xrootd")


@pytest.fixture(scope="module")
def name() -> str:
    return "xrootd"


@pytest.fixture(scope="module", params=["xrdcp", "package"])
def settings(request: pytest.FixtureRequest, xrootd: dict[str, Any]) -> ToolSettings:
    if request.param == "package":
        pytest.importorskip("XRootD")
    return ToolSettings(
        environment={**os.environ, **xrootd["env"]}, options={"xrootd": {"how": request.param}}, connect_s=3
    )


@pytest.fixture(scope="module")
def base(xrootd: dict[str, Any], settings: ToolSettings) -> Directory:
    return Exported(Path(xrootd["folder"]), xrootd["root"], settings, quoted=False)


def test_many_files_come_and_one_that_is_missing_is_told(place: Directory, tmp_path: Path) -> None:
    for i in range(20):
        place.store(f"f{i}", b"%d" % i * 1000)
    orders = [
        order(place.url(f"f{i}"), tmp_path / "o" / f"f{i}", checksums=adler(b"%d" % i * 1000), direction=Direction.IN)
        for i in range(20)
    ]
    orders.insert(7, order(place.url("nope"), tmp_path / "o" / "nope", direction=Direction.IN))
    outcomes = carry(orders, place.settings)
    assert [o.failure and o.failure.code for o in outcomes] == [None] * 7 + [1331] + [None] * 13
    assert sorted(os.listdir(tmp_path / "o")) == sorted(f"f{i}" for i in range(20))


def test_a_wrong_checksum_leaves_no_file_and_says_what_is_there(place: Directory, tmp_path: Path) -> None:
    place.store("f", b"data")
    (outcome,) = carry(
        [order(place.url("f"), tmp_path / "o" / "f", checksums=adler(b"other"), direction=Direction.IN)], place.settings
    )
    assert outcome.failure and outcome.failure.code == 1171
    assert os.listdir(tmp_path / "o") == []


def test_what_is_sent_is_compared_with_what_the_server_got(place: Directory, tmp_path: Path) -> None:
    data = os.urandom(2_000_000)
    (outcome,) = carry([order(content(tmp_path / "f", data), place.url("deep/er/f"))], place.settings)
    assert outcome.failure is None, outcome.failure
    assert place.read("deep/er/f") == data
    assert outcome.checksums == {"adler32": adler(data)[0].value}


def test_a_place_that_may_not_be_written_is_told_without_a_second_try(
    xrootd: dict[str, Any], place: Directory, tmp_path: Path
) -> None:
    url = xrootd["root"].removesuffix("data") + "forbidden/f"
    (outcome,) = carry([order(content(tmp_path / "f"), url, direction=Direction.OUT)], place.settings)
    assert outcome.failure and outcome.failure.code == 1383, outcome.failure
    assert len(outcome.attempts) == 1


def test_a_server_that_is_not_there_is_noticed_soon(settings: ToolSettings, tmp_path: Path) -> None:
    begin = time.monotonic()
    (outcome,) = carry([order("root://127.0.0.1:1//data/f", tmp_path / "f")], settings, max_attempts=1)
    assert outcome.failure and outcome.failure.code == 1327, outcome.failure
    assert time.monotonic() - begin < 15


def test_a_cancel_ends_xrdcp_in_front_of_a_silent_server(xrootd: dict[str, Any], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        cancel = Cancel()
        threading.Timer(0.5, cancel.set).start()
        begin = time.monotonic()
        url = f"root://127.0.0.1:{silent.getsockname()[1]}//data/f"
        (outcome,) = carry(
            [order(url, tmp_path / "o" / "f")], ToolSettings(environment=dict(os.environ)), cancel=cancel
        )
        assert time.monotonic() - begin < 5
    assert outcome.failure and "cancelled" in outcome.failure.message
    assert os.listdir(tmp_path / "o") == []


def test_the_same_server_gives_files_over_http_with_its_checksum(xrootd: dict[str, Any], tmp_path: Path) -> None:
    data = os.urandom(500_000)
    url = f"{xrootd['http']}/web-{os.getpid()}/deep/f"
    (sent,) = carry([order(content(tmp_path / "f", data), url)])
    assert sent.failure is None, sent.failure
    (back,) = carry([order(url, tmp_path / "back", checksums=adler(data))])
    assert back.failure is None, back.failure
    assert (tmp_path / "back").read_bytes() == data


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_that_does_no_good_is_given_up_in_time(kind: str, settings: ToolSettings, tmp_path: Path) -> None:
    quick = msgspec.structs.replace(settings, stall_s=3.0)
    with rude(kind) as port:
        begin = time.monotonic()
        (outcome,) = carry(
            [order(f"root://127.0.0.1:{port}//f", tmp_path / "o" / "f", direction=Direction.IN)],
            quick,
            max_attempts=1,
            stall_s=3.0,
        )
    assert outcome.failure and outcome.failure.code in (1324, 1327, 1151, 1099, 1362), outcome.failure
    assert outcome.failure.retry and time.monotonic() - begin < 60
    assert os.listdir(tmp_path / "o") == []
