"""A work directory where a real quota leaves less room than the disk has."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.small_disk import formatted_disk


@pytest.fixture
def limited(tmp_path: Path) -> Iterator[Path]:
    """A directory with a quota of 50 MB on a Btrfs of 600 MB."""
    with formatted_disk(tmp_path / "disk", "btrfs", 600) as folder:
        subprocess.run(["btrfs", "-q", "quota", "enable", str(folder)], check=True)
        subprocess.run(["btrfs", "-q", "subvolume", "create", str(folder / "mine")], check=True)
        subprocess.run(["btrfs", "-q", "qgroup", "limit", "50M", str(folder / "mine")], check=True)
        yield folder / "mine"


def asked(place: Path, need: str, *more: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "pilot", "workdir", "--order", "SCRATCH", "--need", need, *more]
    return subprocess.run(words, capture_output=True, text=True, env=os.environ | {"SCRATCH": str(place)})


def test_a_quota_is_seen_before_it_hurts(limited: Path) -> None:
    assert asked(limited, "20M").stdout.strip() == str(limited)
    refused = asked(limited, "200M", "--json")
    assert refused.returncode == 69
    (place,) = json.loads(refused.stdout)["candidates"]
    assert "quota" in place["why"].lower()
    assert os.listdir(limited) == []


def test_no_number_of_files_is_told_where_there_is_no_limit(limited: Path) -> None:
    assert "inodes" not in asked(limited, "20M", "--explain").stdout
