"""Files that share their blocks, on a real XFS."""

from __future__ import annotations

import os
import subprocess
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from pilot.core.transfer import Direction
from tests.copytools.making import adler, carry, content, order
from tests.small_disk import formatted_disk

SIZE = 64 << 20


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with formatted_disk(tmp_path / "disk", "xfs", 300) as folder:
        yield folder


def used(folder: Path) -> int:
    """Bytes in use on a file system, once all is written."""
    subprocess.run(["sync", "-f", str(folder)], check=True)
    found = os.statvfs(folder)
    return (found.f_blocks - found.f_bfree) * found.f_frsize


def test_a_reflink_takes_no_room_is_verified_and_is_a_file_of_its_own(disk: Path) -> None:
    data = os.urandom(SIZE)
    source, target = content(disk / "in" / "file", data), disk / "out" / "file"
    before = used(disk)
    (outcome,) = carry([order(source, target, checksums=adler(data), copytool="reflink")], checksums=("adler32", "md5"))
    assert outcome.failure is None
    assert outcome.size == SIZE and outcome.checksums["adler32"] == f"{zlib.adler32(data):08x}"
    assert len(outcome.checksums["md5"]) == 32
    assert used(disk) - before < SIZE // 10
    assert target.read_bytes() == data
    with target.open("r+b") as stream:
        stream.write(b"other words")
    assert source.read_bytes() == data


def test_a_small_file_is_cloned_too(disk: Path) -> None:
    data = os.urandom(1 << 20)
    source = content(disk / "file", data)
    before = used(disk)
    orders = [order(source, disk / "out" / f"{i}", copytool="reflink") for i in range(40)]
    assert all(outcome.failure is None for outcome in carry(orders))
    assert used(disk) - before < 10 << 20
    assert all((disk / "out" / f"{i}").read_bytes() == data for i in range(40))


def test_a_wrong_checksum_leaves_no_clone(disk: Path) -> None:
    source = content(disk / "file", os.urandom(SIZE))
    wrong = order(source, disk / "out" / "file", checksums=adler(b"other"), copytool="reflink", direction=Direction.IN)
    (outcome,) = carry([wrong])
    assert outcome.failure is not None and outcome.failure.code == 1171
    assert os.listdir(disk / "out") == []


def test_what_lies_on_another_file_system_is_copied(disk: Path, tmp_path: Path) -> None:
    data = os.urandom(SIZE)
    source = content(tmp_path / "file", data)
    for tool in ("reflink", "hardlink"):
        (outcome,) = carry([order(source, disk / f"{tool}.copy", checksums=adler(data), copytool=tool)])
        assert outcome.failure is None
        assert (disk / f"{tool}.copy").read_bytes() == data
