"""The copy tool for XRootD against a real server, by xrdcp and by the Python bindings."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
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
from tests.system.services.ground import REPOSITORY


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


@pytest.fixture(scope="module", params=["xrdcp", "package", "xrdcp-tls"])
def way(request: pytest.FixtureRequest) -> str:
    """By which client, and whether to the server that speaks TLS and wants to know who asks."""
    if request.param == "package" and os.environ.get("CI") != "true":
        pytest.importorskip("XRootD")
    return str(request.param)


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest, way: str) -> dict[str, Any]:
    found: dict[str, Any] = request.getfixturevalue("xrootd_tls" if way.endswith("-tls") else "xrootd")
    return found


@pytest.fixture(scope="module")
def settings(request: pytest.FixtureRequest, way: str, server: dict[str, Any]) -> ToolSettings:
    words = {"xrootd": {"how": way.removesuffix("-tls")}}
    made = ToolSettings(environment={**os.environ, **server["env"]}, options=words, connect_s=3)
    if not way.endswith("-tls"):
        return made
    pki = request.getfixturevalue("pki")
    return msgspec.structs.replace(made, proxy_file=pki["proxy"], ca_path=pki["certificates"])


@pytest.fixture(scope="module")
def base(server: dict[str, Any], settings: ToolSettings) -> Directory:
    """The contract suite runs over root and over roots."""
    return Exported(Path(server["folder"]), server.get("roots") or server["root"], settings, quoted=False)


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


BY_PACKAGE = """
import json, sys
from pathlib import Path
from pilot.core.staging import ToolSettings
from tests.copytools.making import carry, order
environment, proxy, token, certificates, url, folder = json.loads(sys.argv[1])
words = {"xrootd": {"how": "package"}}
tools = ToolSettings(environment=environment, options=words, proxy_file=proxy, token_file=token, ca_path=certificates)
for source, target in ((f"{folder}/f", url), (url, f"{folder}/back")):
    (outcome,) = carry([order(source, target)], tools)
    print(outcome.failure.message if outcome.failure else "moved")
"""


@pytest.mark.parametrize("credential", ["proxy", "token", "none"])
def test_the_package_speaks_tls_with_the_credentials_of_the_settings(
    credential: str, xrootd_tls: dict[str, Any], pki: dict[str, Any], oidc: dict[str, Any], tmp_path: Path
) -> None:
    """In a process of its own, whose environment has none of them: the library reads certificates but once."""
    data = os.urandom(1_000_000)
    content(tmp_path / "f", data)
    url = f"{xrootd_tls['roots']}/package-{credential}-{os.getpid()}/f"
    proxy = pki["proxy"] if credential == "proxy" else ""
    token = oidc["token_file"] if credential == "token" else ""
    bare = {"PATH": os.environ["PATH"], "X509_USER_PROXY": str(tmp_path / "none")}
    told = json.dumps([bare, proxy, token, pki["certificates"], url, str(tmp_path)])
    done = subprocess.run(
        [sys.executable, "-c", BY_PACKAGE, told], env=bare, cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    if credential == "none":
        assert "moved" not in done.stdout and not (tmp_path / "back").exists(), done.stdout
        return
    assert done.stdout.split() == ["moved", "moved"], done.stdout + done.stderr
    assert (tmp_path / "back").read_bytes() == data
