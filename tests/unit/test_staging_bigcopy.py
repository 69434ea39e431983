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
