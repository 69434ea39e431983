"""Tools in front of servers that close, say nothing or talk nonsense: an error number in time, and nothing left."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pilot.core.staging import ToolSettings
from pilot.core.transfer import Direction
from tests.copytools.making import carry, content, order
from tests.copytools.rudeness import KINDS, rude

#: No service, no network, no answer in time, or the general number: never a missing file or a wrong checksum.
CODES = {Direction.IN: {1324, 1327, 1151, 1099}, Direction.OUT: {1324, 1327, 1152, 1137}}


def settings(port: int) -> ToolSettings:
    words = {
        "AWS_ACCESS_KEY_ID": "access",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{port}",
        "PATH": os.environ["PATH"],
    }
    return ToolSettings(environment=words, connect_s=2.0, stall_s=1.0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("url", ["http://127.0.0.1:{0}/f", "s3://bucket/f", "gs://bucket/f", "davs://127.0.0.1:{0}/f"])
def test_neither_way_leaves_anything_or_takes_long(url: str, kind: str, tmp_path: Path) -> None:
    with rude(kind) as port:
        there = url.format(port)
        source = content(tmp_path / "source", b"x" * 100_000)
        orders = [
            order(there, tmp_path / "o" / "f", direction=Direction.IN),
            order(source, there + "2", direction=Direction.OUT),
        ]
        outcomes = carry(orders, settings(port), max_attempts=1, stall_s=1.0)
    for outcome in outcomes:
        assert outcome.failure is not None and outcome.failure.code in CODES[outcome.direction], outcome.failure
        assert outcome.failure.retry
    assert os.listdir(tmp_path / "o") == []
