"""https, WebDAV and roots against real servers, with certificates, proxies and tokens."""

from __future__ import annotations

import base64
import os
import re
from pathlib import Path
from typing import Any

import pytest

from pilot.core.staging import ToolSettings
from pilot.core.transfer import Direction
from tests.copytools.making import adler, carry, content, order
from tests.copytools.places.copy import Directory
from tests.copytools.suite import *  # noqa: F403
from tests.copytools.trouble import *  # noqa: F403
from tests.system.services.tokens import minted


@pytest.fixture(scope="module")
def name() -> str:
    return "http"


@pytest.fixture(scope="module")
def base(webdav: dict[str, Any]) -> Directory:
    """The contract suite runs over nginx with TLS."""
    return Directory(Path(webdav["folder"]), webdav["davs"], ToolSettings(ca_path=webdav["ca"]))


def with_key(tmp_path: Path, certificate: str, key: str) -> str:
    path = content(tmp_path / "both.pem", Path(certificate).read_bytes() + Path(key).read_bytes())
    path.chmod(0o600)
    return str(path)


def expired(certificate: Path, target: Path) -> Path:
    """The same certificate with an end in the past; its signature no longer fits, which the owner does not look at."""
    lines = [line for line in certificate.read_text().splitlines() if line and not line.startswith("-")]
    der = bytearray(base64.b64decode("".join(lines)))
    ends = [found.start() for found in re.finditer(rb"\x17\x0d\d{12}Z", der)]
    der[ends[1] + 2 : ends[1] + 14] = b"200101000000"
    text = base64.encodebytes(bytes(der)).decode()
    target.write_text(f"-----BEGIN CERTIFICATE-----\n{text}-----END CERTIFICATE-----\n")
    return target


def test_a_client_certificate_opens_what_is_closed_to_others(webdav: dict[str, Any], tmp_path: Path) -> None:
    source = content(tmp_path / "f", os.urandom(3_000_000))
    url = f"{webdav['private']}/{tmp_path.name}/f"
    tools = ToolSettings(ca_path=webdav["ca"], proxy_file=with_key(tmp_path, webdav["cert"], webdav["key"]))
    (refused,) = carry([order(source, url, direction=Direction.OUT)], ToolSettings(ca_path=webdav["ca"]))
    assert refused.failure and refused.failure.code == 1383
    (sent,) = carry([order(source, url, direction=Direction.OUT)], tools)
    assert sent.failure is None, sent.failure
    (back,) = carry([order(url, tmp_path / "back", checksums=adler(source.read_bytes()))], tools)
    assert back.failure is None, back.failure


def test_a_server_whose_certificate_is_not_trusted_gets_nothing(webdav: dict[str, Any], tmp_path: Path) -> None:
    (outcome,) = carry([order(f"{webdav['url']}/f", tmp_path / "f", direction=Direction.IN)])
    assert outcome.failure and outcome.failure.code == 1338
    assert "not trusted" in outcome.failure.message
    assert len(outcome.attempts) == 1


def test_a_certificate_that_has_run_out_is_told_before_anything_is_asked(
    webdav: dict[str, Any], pki: dict[str, Any], tmp_path: Path
) -> None:
    old = expired(Path(pki["user_cert"]), tmp_path / "old.pem")
    tools = ToolSettings(ca_path=pki["ca"], proxy_file=with_key(tmp_path, str(old), pki["user_key"]))
    (outcome,) = carry([order(f"{webdav['url']}/f", tmp_path / "f")], tools)
    assert outcome.failure and outcome.failure.code == 1373, outcome.failure


def test_a_failing_storage_is_tried_again_and_then_told(webdav: dict[str, Any], tmp_path: Path) -> None:
    (outcome,) = carry([order(f"{webdav['failing']}/f", tmp_path / "f")], ToolSettings(ca_path=webdav["ca"]))
    assert outcome.failure and outcome.failure.code == 1324
    assert len(outcome.attempts) == 2


@pytest.mark.parametrize("scheme", ["davs", "roots"])
@pytest.mark.parametrize("way", ["proxy", "voms_proxy", "token"])
def test_xrootd_takes_and_gives_a_file_to_whoever_may(
    scheme: str, way: str, xrootd_tls: dict[str, Any], pki: dict[str, Any], oidc: dict[str, Any], tmp_path: Path
) -> None:
    data = os.urandom(2_000_000)
    environment = {**os.environ, **xrootd_tls["env"], "X509_USER_PROXY": str(tmp_path / "none")}
    tools = ToolSettings(
        environment=environment,
        ca_path=pki["certificates"],
        proxy_file="" if way == "token" else pki[way],
        token_file=oidc["token_file"] if way == "token" else "",
    )
    url = f"{xrootd_tls[scheme]}/{scheme}-{way}-{os.getpid()}/f"
    (sent,) = carry([order(content(tmp_path / "f", data), url, direction=Direction.OUT)], tools)
    assert sent.failure is None, sent.failure
    (back,) = carry([order(url, tmp_path / "back", checksums=adler(data), direction=Direction.IN)], tools)
    assert back.failure is None, back.failure
    assert (tmp_path / "back").read_bytes() == data


@pytest.mark.parametrize("scheme", ["davs", "roots"])
def test_xrootd_refuses_whoever_may_not_and_the_number_says_so(
    scheme: str, xrootd_tls: dict[str, Any], pki: dict[str, Any], tmp_path: Path
) -> None:
    environment = {**os.environ, **xrootd_tls["env"], "X509_USER_PROXY": str(tmp_path / "none")}
    tools = ToolSettings(environment=environment, ca_path=pki["certificates"])
    (outcome,) = carry([order(f"{xrootd_tls[scheme]}/f", tmp_path / "f", direction=Direction.IN)], tools)
    assert outcome.failure and outcome.failure.code in (1338, 1364), outcome.failure
    assert len(outcome.attempts) == 1


def test_a_token_that_only_reads_does_not_write(
    xrootd_tls: dict[str, Any], pki: dict[str, Any], oidc: dict[str, Any], tmp_path: Path
) -> None:
    token = content(tmp_path / "token", minted(oidc, "storage.read:/").encode())
    token.chmod(0o600)
    tools = ToolSettings(ca_path=pki["certificates"], token_file=str(token))
    source = content(tmp_path / "f", b"data")
    (outcome,) = carry([order(source, f"{xrootd_tls['davs']}/no-{os.getpid()}", direction=Direction.OUT)], tools)
    assert outcome.failure and outcome.failure.code == 1383, outcome.failure
