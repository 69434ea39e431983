import errno
import os
import threading
import zlib
from pathlib import Path

import pytest

from pilot.lib import bigcopy
from pilot.lib.checksum import Hasher
from tests.copytools.making import adler, carry, content, order

DATA = os.urandom(9_000_000)


def copy(tmp_path: Path, hasher: Hasher, on_bytes=lambda count: None) -> bytes:
    source = os.open(content(tmp_path / "a", DATA), os.O_RDONLY)
    target = os.open(tmp_path / "b", os.O_RDWR | os.O_CREAT)
    try:
        assert bigcopy.copy_large(source, target, hasher, on_bytes) == len(DATA)
    finally:
        os.close(source)
        os.close(target)
    return (tmp_path / "b").read_bytes()


def test_a_large_file_is_copied_and_hashed(tmp_path: Path) -> None:
    hasher, told = Hasher(["adler32", "sha256"]), []
    assert copy(tmp_path, hasher, told.append) == DATA
    assert hasher.values()["adler32"] == f"{zlib.adler32(DATA):08x}"
    assert sum(told) == len(DATA)


@pytest.mark.parametrize("answer", [0, OSError(errno.EXDEV, "no")])
def test_what_the_kernel_cannot_copy_is_copied_here(
    answer: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cannot(*args: object) -> int:
        if isinstance(answer, OSError):
            raise answer
        return 0

    monkeypatch.setattr(os, "copy_file_range", cannot)
    hasher = Hasher(["adler32"])
    assert copy(tmp_path, hasher) == DATA
    assert hasher.values()["adler32"] == f"{zlib.adler32(DATA):08x}"


def test_the_hash_is_of_what_was_written_and_a_stop_leaves_no_thread(tmp_path: Path) -> None:
    class Stop(Exception):
        pass

    def stop(count: int) -> None:
        raise Stop

    with pytest.raises(Stop):
        copy(tmp_path, Hasher(["adler32"]), stop)
    assert not [t for t in threading.enumerate() if t.name == "staging-hash"]


def test_a_copy_that_was_written_wrongly_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = os.copy_file_range

    def forger(source: int, target: int, count: int) -> int:
        done = honest(source, target, count)
        if done:
            os.pwrite(target, b"X", 1000)
        return done

    monkeypatch.setattr(os, "copy_file_range", forger)
    monkeypatch.setattr("pilot.plugins.copytools.copy._LARGE", 1)
    (outcome,) = carry([order(content(tmp_path / "a", DATA), tmp_path / "o" / "b", checksums=adler(DATA))])
    assert outcome.failure and outcome.failure.code == 1171
    assert os.listdir(tmp_path / "o") == []


def sparse(path: Path, *pieces: tuple[int, bytes], size: int) -> Path:
    with path.open("wb") as stream:
        stream.truncate(size)
        for at, data in pieces:
            stream.seek(at)
            stream.write(data)
    if os.stat(path).st_blocks * 512 >= size:
        pytest.skip("this file system has no holes")
    return path


def room(path: Path) -> int:
    return os.stat(path).st_blocks * 512


@pytest.mark.parametrize("kernel", [True, False])
@pytest.mark.parametrize(
    "pieces",
    [
        (),
        ((0, DATA),),
        ((50 << 20, DATA),),
        ((91 << 20, DATA),),
        ((1, b"x"), (40 << 20, DATA), ((100 << 20) - 1, b"z")),
    ],
)
def test_holes_stay_holes_and_count_for_the_checksum(
    pieces: tuple[tuple[int, bytes], ...], kernel: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not kernel:
        monkeypatch.setattr(os, "copy_file_range", lambda *args: 0)
    source = sparse(tmp_path / "a", *pieces, size=100 << 20)
    whole = source.read_bytes()
    (outcome,) = carry([order(source, tmp_path / "b", checksums=adler(whole), size=len(whole))])
    assert outcome.failure is None and outcome.size == len(whole)
    assert (tmp_path / "b").read_bytes() == whole
    assert room(tmp_path / "b") <= room(source) + (1 << 20)


def test_a_file_with_holes_that_gets_shorter_is_not_copied_as_if_it_had_not(tmp_path: Path) -> None:
    source = sparse(tmp_path / "a", (0, DATA), (60 << 20, DATA), size=100 << 20)
    (outcome,) = carry(
        [order(source, tmp_path / "b")], max_attempts=1, on_bytes=lambda count: os.truncate(source, 20 << 20)
    )
    assert outcome.failure and outcome.failure.retry and "got shorter" in outcome.failure.message
    assert os.listdir(tmp_path) == ["a"]
