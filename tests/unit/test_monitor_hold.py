"""Holding a process, by a pidfd and without one: the same promises."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from pilot.lib.hold import Hold, has_pidfds

GENERATIONS = """
import os, sys, time
if os.fork() == 0:
    print(os.getpid(), flush=True)
    time.sleep(60)
else:
    time.sleep(60)
"""


def refused(number: int) -> int:
    """`pidfd_open` of an older kernel."""
    raise OSError(errno.ENOSYS, "Function not implemented")


@pytest.fixture(params=["pidfds", "older kernel", "older interpreter"])
def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "older kernel":
        monkeypatch.setattr(os, "pidfd_open", refused)
    elif request.param == "older interpreter":
        monkeypatch.delattr(os, "pidfd_open")
    return str(request.param)


@pytest.fixture
def child() -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", GENERATIONS], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    yield process
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def readable(fd: int, patience_s: float) -> bool:
    return bool(select.select([fd], [], [], patience_s)[0])


def test_it_is_told_whether_there_are_pidfds(kernel: str) -> None:
    assert has_pidfds() == (kernel == "pidfds")


def test_the_end_of_a_child_wakes_and_its_status_is_left_for_its_parent(
    kernel: str, child: subprocess.Popen[str]
) -> None:
    hold = Hold(child.pid)
    assert not readable(hold.fd, 0.2)
    hold.send(signal.SIGTERM)
    assert readable(hold.fd, 30)
    assert os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT).si_status == signal.SIGTERM  # type: ignore[union-attr]
    hold.close()


def test_the_end_of_a_process_that_is_no_child_wakes_too(kernel: str, child: subprocess.Popen[str]) -> None:
    assert child.stdout is not None
    hold = Hold(int(child.stdout.readline()))
    assert not readable(hold.fd, 0.2)
    hold.send(signal.SIGKILL)
    assert readable(hold.fd, 30)
    hold.close()


def test_nothing_is_held_or_signalled_that_is_not_there(kernel: str) -> None:
    process = subprocess.Popen(["true"])
    hold = Hold(process.pid)
    process.wait()
    with pytest.raises(ProcessLookupError):
        hold.send(signal.SIGKILL)
    hold.close()
    with pytest.raises(ProcessLookupError):
        Hold(process.pid)


def test_a_later_process_of_the_same_number_is_not_signalled(child: subprocess.Popen[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "pidfd_open", refused)
        hold = Hold(child.pid)
        hold._birth -= 1  # the one that was held started before the one that has its number now
        with pytest.raises(ProcessLookupError):
            hold.send(signal.SIGKILL)
        hold.close()
    assert child.poll() is None


def test_letting_go_while_it_lives_harms_nobody_that_gets_the_descriptor_next(
    kernel: str, child: subprocess.Popen[str]
) -> None:
    hold = Hold(child.pid)
    number = hold.fd
    hold.close()
    hold.close()
    assert hold.fd == -1
    read, write = os.pipe()
    assert number in (read, write)
    child.kill()
    child.wait()
    assert not readable(read, 0.3)
    os.close(read)
    os.close(write)


def test_another_trouble_than_a_missing_call_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_more(number: int) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "pidfd_open", no_more)
    with pytest.raises(OSError, match="Too many open files"):
        Hold(os.getpid())
