import hashlib
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pilot.lib.cancel import Cancel
from pilot.lib.command import KEPT, run
from pilot.plugins.copytools import external

ENV = {"PATH": os.environ["PATH"]}


def sh(script: str, **more):
    told = {"env": ENV, "cancel": Cancel(), "limit_s": 20.0, **more}
    return run(["/bin/sh", "-c", script], **told)


def test_a_command_gives_its_code_and_its_words() -> None:
    ran = sh("echo out; echo err >&2; exit 3")
    assert (ran.code, ran.out, ran.err) == (3, "out\n", "err\n")
    assert ran.last_line() == "err"


def test_its_environment_is_what_it_was_given_and_its_input_too() -> None:
    assert sh("env | sort; cat", env={"A": "b"}, text="hello").out.endswith("hello")
    assert "HOME=" not in sh("env", env={"A": "b"}).out


def test_only_the_end_of_a_flood_is_kept() -> None:
    ran = run([sys.executable, "-c", f"print('a' * {KEPT} + 'z' * 100)"], env=ENV, cancel=Cancel(), limit_s=20)
    assert len(ran.out) <= KEPT
    assert ran.out.endswith("z\n")


def test_a_cancel_ends_it_with_all_that_it_started() -> None:
    cancel = Cancel()
    threading.Timer(0.1, cancel.set).start()
    begin = time.monotonic()
    ran = sh("sleep 60 & sleep 60", cancel=cancel)
    assert time.monotonic() - begin < 5
    assert ran.cancelled and ran.code < 0


def test_a_deaf_command_is_ended_all_the_same() -> None:
    begin = time.monotonic()
    ran = sh("trap '' TERM; while :; do sleep 60; done", limit_s=0.1)
    assert 1.5 < time.monotonic() - begin < 10
    assert ran.late and ran.code == -9


def test_a_cancel_that_was_there_before_ends_it_at_once() -> None:
    cancel = Cancel()
    cancel.set()
    assert sh("sleep 60", cancel=cancel).cancelled


def test_a_grandchild_that_keeps_the_pipes_open_is_not_waited_for() -> None:
    begin = time.monotonic()
    assert sh("sleep 60 & echo done").out == "done\n"
    assert time.monotonic() - begin < 10


def test_who_watches_may_end_it() -> None:
    class Enough(Exception):
        pass

    def look() -> None:
        raise Enough

    with pytest.raises(Enough):
        sh("sleep 60", tick_s=0.01, on_tick=look)


def test_a_program_that_is_not_there_is_an_error_of_the_system() -> None:
    with pytest.raises(FileNotFoundError):
        run(["/no/such/program"], env=ENV, cancel=Cancel(), limit_s=1)


def test_no_descriptor_is_left_open() -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        sh("true")
    assert len(os.listdir("/proc/self/fd")) == before


PIECE = os.urandom(300_000)


def test_any_amount_of_input_goes_in_piece_by_piece_as_it_is_taken() -> None:
    ran = sh("md5sum", pieces=iter([PIECE] * 20))
    assert ran.out.split()[0] == hashlib.md5(PIECE * 20).hexdigest()


def test_a_command_that_wants_no_more_input_tells_by_its_code() -> None:
    assert sh("head -c 10 > /dev/null; exit 3", pieces=iter([PIECE] * 1000)).code == 3


def test_input_that_breaks_off_ends_the_command_before_it_can_take_it_for_whole(tmp_path: Path) -> None:
    def broken() -> Iterator[bytes]:
        yield PIECE
        raise EOFError

    with pytest.raises(EOFError):
        sh(f"cat > /dev/null; echo whole > '{tmp_path}/told'", pieces=broken())
    assert not (tmp_path / "told").exists()


def guarded(size: int, *, clean: str = "") -> list[str]:
    """A guard over a command that says `whole` at the end of its input."""
    guard = str(Path(external.__file__).with_name("stream_guard.py"))
    words = ["/bin/sh", "-c", clean] if clean else []
    argv = [sys.executable, "-ISc", external.BOOT, guard, str(size), str(len(words)), *words]
    return [*argv, "/bin/sh", "-c", "md5sum; echo whole; exit 7"]


def test_a_guard_hands_on_what_comes_and_the_code() -> None:
    ran = run(guarded(6_000_000), env=ENV, cancel=Cancel(), limit_s=60, pieces=iter([PIECE] * 20))
    assert (ran.code, ran.out) == (7, f"{hashlib.md5(PIECE * 20).hexdigest()}  -\nwhole\n")


def test_a_guard_ends_the_command_when_its_own_input_ends_too_soon(tmp_path: Path) -> None:
    argv = guarded(6_000_001, clean=f"touch '{tmp_path}/clean'")
    ran = run(argv, env=ENV, cancel=Cancel(), limit_s=60, pieces=iter([PIECE] * 20))
    assert (ran.code, ran.out) == (-9, ""), "it must not take a part for the whole"
    assert (tmp_path / "clean").exists()


def test_a_guard_over_nothing_says_so() -> None:
    argv = guarded(6_000_000)
    ran = run([*argv[:-3], "/no/such/program"], env=ENV, cancel=Cancel(), limit_s=60, pieces=iter([PIECE] * 20))
    assert ran.code == 127 and "/no/such/program" in ran.err
