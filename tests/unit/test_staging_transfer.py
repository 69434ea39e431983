import errno
import os
import threading
import time
import zlib
from pathlib import Path

import pytest

from pilot.core.transfer import Attempt, Direction, Endpoint, Transfer
from pilot.lib.cancel import Cancel
from tests.copytools.making import adler, content, order, transferer


@pytest.mark.parametrize("tool", ["copy", "reflink", "symlink", "hardlink", "move"])
def test_a_file_arrives_verified_and_nothing_lies_beside_it(tool: str, tmp_path: Path) -> None:
    data = os.urandom(300_000)
    source = content(tmp_path / "a" / "file", data)
    told: list[Attempt] = []
    (outcome,) = transferer(checksums=("adler32", "md5")).carry_out(
        [order(source, tmp_path / "b" / "c" / "file", size=len(data), checksums=adler(data), copytool=tool)],
        cancel=Cancel(),
        on_attempt=told.append,
    )
    assert outcome.failure is None
    assert (tmp_path / "b/c/file").read_bytes() == data
    assert os.listdir(tmp_path / "b/c") == ["file"]
    assert outcome.size == len(data)
    assert outcome.checksums["adler32"] == f"{zlib.adler32(data):08x}"
    assert len(outcome.checksums["md5"]) == 32
    assert list(outcome.attempts) == told
    assert source.exists() == (tool != "move")


@pytest.mark.parametrize("tool", ["copy", "reflink", "symlink", "hardlink", "move"])
def test_a_wrong_checksum_leaves_no_file_and_the_source_where_it_is(tool: str, tmp_path: Path) -> None:
    source = content(tmp_path / "a")
    target = tmp_path / "out" / "a"
    (outcome,) = transferer().carry_out(
        [order(source, target, direction=Direction.IN, checksums=adler(b"other"), copytool=tool)], cancel=Cancel()
    )
    assert outcome.failure and outcome.failure.code == 1171
    assert len(outcome.attempts) == 1, "a wrong checksum at the source is not tried again"
    assert source.exists()
    assert os.listdir(target.parent) == []


@pytest.mark.parametrize(("direction", "code"), [(Direction.IN, 1331), (Direction.OUT, 1165), (Direction.OTHER, 1103)])
def test_a_missing_source_is_permanent(direction: Direction, code: int, tmp_path: Path) -> None:
    (outcome,) = transferer(max_attempts=5).carry_out(
        [order(tmp_path / "nope", tmp_path / "x", direction=direction)], cancel=Cancel()
    )
    assert outcome.failure and outcome.failure.code == code
    assert len(outcome.attempts) == 1


def test_the_next_source_is_taken_when_one_is_missing_and_the_best_comes_first(tmp_path: Path) -> None:
    good = content(tmp_path / "good")
    sources = (
        Endpoint(str(tmp_path / "worst"), priority=1),
        Endpoint(str(good), priority=5),
        Endpoint(str(tmp_path / "missing"), priority=9),
    )
    (outcome,) = transferer().carry_out(
        [Transfer(lfn="x", sources=sources, targets=(Endpoint(str(tmp_path / "x")),))], cancel=Cancel()
    )
    assert outcome.failure is None
    assert [a.source for a in outcome.attempts] == [str(tmp_path / "missing"), str(good)]


def test_one_bad_file_does_not_keep_the_others_from_coming(tmp_path: Path) -> None:
    orders = [order(content(tmp_path / f"a{i}"), tmp_path / "o" / f"a{i}") for i in range(5)]
    orders.insert(2, order(tmp_path / "nope", tmp_path / "o" / "nope"))
    outcomes = transferer().carry_out(orders, cancel=Cancel())
    assert [bool(o.failure) for o in outcomes] == [False, False, True, False, False, False]
    assert [o.lfn for o in outcomes] == [t.lfn for t in orders]


def test_two_files_for_one_target_are_not_mixed(tmp_path: Path) -> None:
    orders = [
        order(content(tmp_path / "a", b"a"), tmp_path / "o" / "x"),
        order(content(tmp_path / "b", b"b"), tmp_path / "o" / "x"),
    ]
    first, second = transferer().carry_out(orders, cancel=Cancel())
    assert first.failure is None
    assert second.failure and second.failure.code == 1221
    assert (tmp_path / "o" / "x").read_bytes() == b"a"


def test_every_target_gets_the_file(tmp_path: Path) -> None:
    source = content(tmp_path / "a")
    targets = (Endpoint(str(tmp_path / "one" / "a")), Endpoint(str(tmp_path / "two" / "a")))
    (outcome,) = transferer().carry_out(
        [Transfer(lfn="a", sources=(Endpoint(str(source)),), targets=targets)], cancel=Cancel()
    )
    assert outcome.failure is None
    assert outcome.target == targets[0].url
    assert (tmp_path / "two" / "a").read_bytes() == source.read_bytes()


def test_an_unknown_scheme_is_refused_and_names_what_is_known(tmp_path: Path) -> None:
    (outcome,) = transferer().carry_out([order("warp://host/x", tmp_path / "x")], cancel=Cancel())
    assert outcome.failure and outcome.failure.code == 1323
    assert "warp" in outcome.failure.message


def test_an_unknown_tool_is_refused(tmp_path: Path) -> None:
    (outcome,) = transferer().carry_out(
        [order(content(tmp_path / "a"), tmp_path / "x", copytool="teleport")], cancel=Cancel()
    )
    assert outcome.failure and outcome.failure.code == 1323


def test_a_cancel_ends_the_copy_of_a_large_file_and_leaves_nothing(tmp_path: Path) -> None:
    fifo_like = tmp_path / "big"
    with open(fifo_like, "wb") as stream:
        stream.truncate(1 << 40)
    cancel = Cancel()
    threading.Timer(0.1, cancel.set).start()
    begin = time.monotonic()
    (outcome,) = transferer(checksums=()).carry_out(
        [order(fifo_like, Path("/dev/shm") / f"{os.getpid()}-{tmp_path.name}" / "big")], cancel=cancel
    )
    assert time.monotonic() - begin < 5
    assert outcome.failure
    assert os.listdir(Path("/dev/shm") / f"{os.getpid()}-{tmp_path.name}") == []
    os.rmdir(Path("/dev/shm") / f"{os.getpid()}-{tmp_path.name}")


def test_nothing_starts_after_a_cancel(tmp_path: Path) -> None:
    cancel = Cancel()
    cancel.set()
    (outcome,) = transferer().carry_out([order(content(tmp_path / "a"), tmp_path / "b")], cancel=cancel)
    assert outcome.failure
    assert not (tmp_path / "b").exists()


def test_small_files_are_moved_in_the_calling_thread(tmp_path: Path) -> None:
    before = threading.active_count()
    seen: list[int] = []
    orders = [order(content(tmp_path / f"a{i}"), tmp_path / "o" / f"a{i}") for i in range(2)]
    transferer().carry_out(orders, cancel=Cancel(), on_attempt=lambda a: seen.append(threading.active_count()))
    assert seen == [before, before]


def test_a_target_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    content(tmp_path / "file")
    (outcome,) = transferer().carry_out([order(content(tmp_path / "a"), tmp_path / "file" / "x")], cancel=Cancel())
    assert outcome.failure and outcome.failure.code == 1199


def test_a_directory_or_a_pipe_is_not_a_file_to_copy(tmp_path: Path) -> None:
    (tmp_path / "dir").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name in ("dir", "pipe"):
        (outcome,) = transferer().carry_out([order(tmp_path / name, tmp_path / "x")], cancel=Cancel())
        assert outcome.failure
    assert not (tmp_path / "x").exists()


def test_small_files_are_never_seen_before_they_are_whole(tmp_path: Path) -> None:
    seen: list[list[str]] = []
    sources = [content(tmp_path / "in" / f"f{i}", b"x" * 4096) for i in range(5)]
    (tmp_path / "out").mkdir()
    before = len(os.listdir("/proc/self/fd"))
    outcomes = transferer().carry_out(
        [order(source, tmp_path / "out" / source.name) for source in sources],
        cancel=Cancel(),
        on_bytes=lambda count: seen.append(sorted(os.listdir(tmp_path / "out"))),
    )
    assert [outcome.failure for outcome in outcomes] == [None] * 5
    assert seen == [[f"f{k}" for k in range(i)] for i in range(5)]
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("number", [errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL])
def test_file_systems_without_nameless_files_get_a_temporary_name(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.open

    def refuse(path: str, flags: int, *more: int) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(number, os.strerror(number))
        return real(path, flags, *more)

    monkeypatch.setattr(os, "open", refuse)
    source = content(tmp_path / "in", b"some bytes")
    for wanted in (adler(b"some bytes"), adler(b"other")):
        (outcome,) = transferer().carry_out([order(source, tmp_path / "o" / "f", checksums=wanted)], cancel=Cancel())
        assert (outcome.failure is None) == (wanted == adler(b"some bytes"))
    assert os.listdir(tmp_path / "o") == ["f"]
