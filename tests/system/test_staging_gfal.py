"""The gfal copy tool with the real gfal2, against GridFTP and XRootD."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from pilot.core.staging import ToolSettings
from pilot.core.transfer import Direction
from tests.copytools.making import adler, carry, content, order
from tests.copytools.places.copy import Directory
from tests.copytools.suite import *  # noqa: F403
from tests.copytools.trouble import *  # noqa: F403
from tests.system.test_staging_web import expired, with_key


@pytest.fixture(scope="module")
def name() -> str:
    return "gfal"


@pytest.fixture(scope="module")
def base(gridftp: dict[str, Any], gfal: dict[str, Any], pki: dict[str, Any]) -> Directory:
    settings = ToolSettings(
        environment={**os.environ, **gridftp["env"], **gfal["env"]},
        options={"gfal": {"how": "bindings"}},
        proxy_file=pki["proxy"],
        ca_path=pki["certificates"],
    )
    return Directory(Path(gridftp["folder"]), gridftp["url"], settings, quoted=True)


def test_a_file_goes_by_gridftp_and_comes_back_verified(place: Directory, tmp_path: Path) -> None:
    data = os.urandom(2_000_000)
    (sent,) = carry(
        [order(content(tmp_path / "f", data), place.url("new/deep/f"), direction=Direction.OUT)], place.settings
    )
    assert sent.failure is None, sent.failure
    (back,) = carry(
        [order(place.url("new/deep/f"), tmp_path / "b", checksums=adler(data), size=len(data))], place.settings
    )
    assert back.failure is None, back.failure


def test_gfal_also_moves_what_has_another_first_choice(xrootd: dict[str, Any], base: Directory, tmp_path: Path) -> None:
    data = os.urandom(100_000)
    url = f"{xrootd['root']}/gfal-{os.getpid()}/f"
    (sent,) = carry([order(content(tmp_path / "f", data), url, copytool="gfal")], base.settings)
    assert sent.failure is None, sent.failure
    assert [attempt.copytool for attempt in sent.attempts] == ["gfal"]
    (back,) = carry([order(url, tmp_path / "b", checksums=adler(data), copytool="gfal")], base.settings)
    assert back.failure is None, back.failure


def test_a_wrong_checksum_leaves_nothing(place: Directory, tmp_path: Path) -> None:
    place.store("f", b"data")
    (outcome,) = carry(
        [order(place.url("f"), tmp_path / "o" / "f", checksums=adler(b"x"), direction=Direction.IN)], place.settings
    )
    assert outcome.failure and outcome.failure.code == 1171
    assert os.listdir(tmp_path / "o") == []


def test_whoever_has_no_proxy_is_refused(gridftp: dict[str, Any], gfal: dict[str, Any], tmp_path: Path) -> None:
    nobody = {**os.environ, **gridftp["env"], **gfal["env"], "X509_USER_PROXY": str(tmp_path / "none")}
    settings = ToolSettings(environment=nobody, options={"gfal": {"how": "bindings"}})
    (outcome,) = carry([order(f"{gridftp['url']}/f", tmp_path / "f", direction=Direction.IN)], settings)
    assert outcome.failure is not None
    assert not (tmp_path / "f").exists()


def test_the_real_programs_carry_a_file_there_and_back(
    gridftp: dict[str, Any], gfal: dict[str, Any], pki: dict[str, Any], tmp_path: Path
) -> None:
    """Debian's gfal-copy, which dies at its own end now and then (free(): invalid pointer): that is tried again."""
    settings = ToolSettings(
        environment={**os.environ, **gridftp["env"], "GFAL_PYTHONBIN": "/usr/bin/python3"},
        options={"gfal": {"how": "program"}},
        proxy_file=pki["proxy"],
        ca_path=pki["certificates"],
    )
    data, url = os.urandom(300_000), f"{gridftp['url']}/programs-{os.getpid()}/f"
    source = content(tmp_path / "f", data)
    (sent,) = carry([order(source, url, direction=Direction.OUT)], settings, max_attempts=8)
    assert sent.failure is None, sent.failure
    (back,) = carry([order(url, tmp_path / "b", checksums=adler(data), size=len(data))], settings, max_attempts=8)
    assert back.failure is None, back.failure
    assert (tmp_path / "b").read_bytes() == data


def test_a_proxy_that_has_run_out_is_told_as_such_and_not_tried_again(
    gridftp: dict[str, Any], gfal: dict[str, Any], pki: dict[str, Any], tmp_path: Path
) -> None:
    old = with_key(tmp_path, str(expired(Path(pki["user_cert"]), tmp_path / "old.pem")), pki["user_key"])
    environment = {**os.environ, **gridftp["env"], **gfal["env"]}
    options = {"gfal": {"how": "bindings"}}
    settings = ToolSettings(environment=environment, options=options, proxy_file=old, ca_path=pki["certificates"])
    (outcome,) = carry([order(f"{gridftp['url']}/f", tmp_path / "o" / "f", direction=Direction.IN)], settings)
    assert outcome.failure and outcome.failure.code == 1373, outcome.failure
    assert len(outcome.attempts) == 1 and os.listdir(tmp_path / "o") == []
