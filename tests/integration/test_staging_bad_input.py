"""Bad names, full disks, files that change: the right number, no partial file, nothing else lost."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pilot.core.transfer import Direction
from tests.copytools.making import adler, carry, content, order
from tests.copytools.webserver import serving
from tests.small_disk import small_disk

NAMES = ["it's", 'say "hi"', "a b", "new\nline", "größe", "\t", "x" * 255, "-rf", "$(touch hacked)", "a;b", "%41", "#?"]


@pytest.mark.parametrize("name", NAMES)
def test_any_name_of_a_file_survives_a_copy_and_the_web(name: str, tmp_path: Path) -> None:
    from urllib.parse import quote

    source = content(tmp_path / "in" / name, name.encode())
    with serving(tmp_path / "web") as web:
        there = f"{web.url}/{quote(name)}"
        outcomes = carry([order(source, tmp_path / "out" / name)])
        outcomes += carry([order(source, there)])
        outcomes += carry([order(there, tmp_path / "back" / name, checksums=adler(name.encode()))])
    assert [outcome.failure for outcome in outcomes] == [None, None, None]
    assert os.listdir(tmp_path / "out") == os.listdir(tmp_path / "back") == [name]
    assert not os.path.exists("hacked")


@pytest.fixture(name="small_disk")
def small_disk_of_1_mb(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "small", 1) as folder:
        yield folder


def test_a_full_disk_has_its_own_number_and_the_files_that_fit_are_there(small_disk: Path, tmp_path: Path) -> None:
    orders = [
        order(content(tmp_path / name, os.urandom(size)), small_disk / name, direction=Direction.IN)
        for name, size in (("first", 400_000), ("too large", 900_000), ("last", 400_000))
    ]
    first, large, last = carry(orders)
    assert first.failure is None and last.failure is None
    assert large.failure and large.failure.code == 1098
    assert len(large.attempts) == 1, "a full disk is not tried again"
    assert sorted(os.listdir(small_disk)) == ["first", "last"]


def test_a_full_disk_stops_a_download_and_leaves_nothing(small_disk: Path, tmp_path: Path) -> None:
    with serving(tmp_path / "web") as web:
        (web.root / "f").write_bytes(os.urandom(2_000_000))
        (outcome,) = carry([order(f"{web.url}/f", small_disk / "f", direction=Direction.IN)])
    assert outcome.failure and outcome.failure.code == 1098
    assert os.listdir(small_disk) == []


def test_a_large_file_that_does_not_fit_is_found_in_the_kernel_s_copy_too(
    small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pilot.plugins.copytools.copy._LARGE", 1)
    before = set(threading.enumerate())
    (outcome,) = carry([order(content(tmp_path / "f", os.urandom(3_000_000)), small_disk / "f")])
    assert outcome.failure and outcome.failure.code == 1098
    assert os.listdir(small_disk) == []
    assert not [t for t in threading.enumerate() if t not in before and t.name.startswith("staging")]


def test_a_target_that_is_a_directory_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "out" / "f").mkdir(parents=True)
    (outcome,) = carry([order(content(tmp_path / "f"), tmp_path / "out" / "f")])
    assert outcome.failure is not None
    assert (tmp_path / "out" / "f").is_dir() and os.listdir(tmp_path / "out") == ["f"]


def test_a_link_where_the_growing_file_would_be_is_not_followed(tmp_path: Path) -> None:
    from pilot.lib.files import part_path
    from tests.copytools.making import transferer

    mover = transferer()
    victim = content(tmp_path / "victim", b"precious")
    part = part_path(str(tmp_path / "out" / "f"), mover.token)
    os.makedirs(tmp_path / "out")
    os.symlink(victim, part)
    from pilot.lib.cancel import Cancel

    mover.carry_out([order(content(tmp_path / "f"), tmp_path / "out" / "f")], cancel=Cancel())
    assert victim.read_bytes() == b"precious"


def test_no_overwrite_means_what_it_says(tmp_path: Path) -> None:
    content(tmp_path / "out" / "f", b"old")
    (outcome,) = carry([order(content(tmp_path / "f", b"new"), tmp_path / "out" / "f")], overwrite=False)
    assert outcome.failure and outcome.failure.code == 1221
    assert (tmp_path / "out" / "f").read_bytes() == b"old"
