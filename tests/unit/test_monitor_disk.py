"""The walk of a work directory, the shortening of logs, and what counts as a sign of life."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import time
from pathlib import Path

import pytest

from pilot.core.limits import DiskLook, Limits, Quiet, disk_full, looping
from pilot.core.usage import Sample
from pilot.engine.monitor_disk import Disk, shorten
from pilot.engine.monitor_life import Life
from pilot.lib import stacks
from pilot.lib.procfs import Proc


def fill(path: Path, size: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(os.urandom(size))
    return path


def test_a_directory_weighs_its_files_once_and_follows_no_link(tmp_path: Path) -> None:
    big = fill(tmp_path / "outside", 1 << 20)
    work = tmp_path / "work"
    fill(work / "a" / "one", 200_000)
    os.link(work / "a" / "one", work / "again")
    (work / "link").symlink_to(big)
    (work / "loop").symlink_to(work)
    disk = Disk(work)
    disk.look(time.monotonic(), slice_s=10)
    assert 200_000 <= disk.size < 250_000


def test_a_long_walk_goes_on_over_several_looks(tmp_path: Path) -> None:
    for n in range(50):
        fill(tmp_path / f"f{n}", 4096)
    disk = Disk(tmp_path)
    looks = 0
    while not disk.size and looks < 1000:
        disk.look(1000.0 + looks, slice_s=0.0)
        looks += 1
    assert 10 < looks <= 52 and disk.size >= 50 * 4096


def test_the_pilots_own_files_are_no_sign_of_life(tmp_path: Path) -> None:
    later = time.time() - 50
    for name in ("memory_monitor_output.txt", "pilot.log", "data"):
        fill(tmp_path / name, 10)
    disk = Disk(tmp_path)
    disk.changed_at = 0.0
    os.utime(tmp_path / "data", (later, later))
    disk.look(0.0, slice_s=10)
    assert disk.changed_at == pytest.approx(later, abs=0.01)


def test_a_directory_that_is_not_there_weighs_nothing(tmp_path: Path) -> None:
    look = Disk(tmp_path / "gone", ["out"]).look(0.0)
    assert (look.workdir, look.free, look.largest_output) == (0, None, ("", 0))


@pytest.mark.parametrize("lines", [b"x" * 99 + b"\n", b"\xff\x00"])
def test_a_shortened_log_tells_what_is_missing_and_keeps_bytes(tmp_path: Path, lines: bytes) -> None:
    whole = lines * (1_000_000 // len(lines))
    log = tmp_path / "log"
    log.write_bytes(whole)
    dropped = shorten(log, 100_000)
    head, middle, tail = log.read_bytes().partition(b"\n[... %d bytes left out here ...]\n" % dropped)
    assert middle and whole.startswith(head) and whole.endswith(tail)
    assert len(head) + len(tail) + dropped == len(whole)
    assert 100_000 - 65536 <= len(tail) <= 100_000


def test_a_short_log_or_none_is_left_as_it_is(tmp_path: Path) -> None:
    log = fill(tmp_path / "log", 5000)
    assert shorten(log, 10_000) == 0 == shorten(tmp_path / "none", 10)
    assert log.stat().st_size == 5000


def test_the_time_to_a_full_disk_follows_from_the_rate() -> None:
    look = DiskLook(free=500 << 20, fill_rate=10e6)
    assert look.full_in_s == pytest.approx(52.4, abs=0.1)
    assert disk_full(Limits(disk_free_mb=501), look) is not None
    assert disk_full(Limits(disk_free_mb=500), look) is None
    assert disk_full(Limits(disk_free_mb=501), DiskLook()) is None
    assert DiskLook(free=5).full_in_s is None


def test_cpu_without_output_is_looping_but_not_idle() -> None:
    life = Life(now=0.0)
    for n in range(1, 11):
        quiet = life.look(Sample(at=0, wall_s=n * 5.0, user_s=n * 4.9), 0.0, ["R"], n * 5.0)
    assert quiet.output_s == pytest.approx(50.0) and quiet.all_s == 0.0
    assert looping(Limits(looping_s=49), quiet) and not looping(Limits(idle_s=1), quiet)


def test_io_and_changed_files_are_life() -> None:
    life = Life(now=0.0)
    life.look(Sample(at=0, wall_s=0.0), 0.0, [], 0.0)
    assert life.look(Sample(at=0, wall_s=5.0, rchar=9000), 0.0, [], 5.0).output_s == 0
    assert life.look(Sample(at=0, wall_s=25.0, rchar=9000), 0.0, [], 25.0).output_s == 20
    assert life.look(Sample(at=0, wall_s=30.0, rchar=9000), time.time() - 2, [], 30.0).output_s == pytest.approx(
        2, abs=1
    )


def test_a_suspended_pilot_does_not_blame_its_payload() -> None:
    life = Life(now=0.0)
    life.look(Sample(at=0), 0.0, [], 1.0)
    quiet = life.look(Sample(at=0), 0.0, ["S"], 7201.0)
    assert quiet.output_s == pytest.approx(1.0)


def test_stopped_processes_are_told_only_if_all_are() -> None:
    failure = looping(Limits(idle_s=1), Quiet(5, 5, {"T": 2}))
    assert failure is not None and "2T" in failure.message and "all processes are stopped" in failure.message
    failure = looping(Limits(idle_s=1), Quiet(5, 5, {"T": 1, "D": 1}))
    assert failure is not None and "(1D 1T)" in failure.message and "stopped" not in failure.message


def tool(directory: Path, name: str, script: str) -> None:
    path = directory / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def test_a_stack_dump_asks_py_spy_for_python_and_gdb_if_that_fails(tmp_path: Path) -> None:
    tool(tmp_path, "py-spy", 'echo "spied $*"')
    into = tmp_path / "stacks.txt"
    assert stacks.dump([os.getpid()], into, Proc(), search=str(tmp_path)) == ["py-spy"]
    assert f"spied dump --nonblocking --pid {os.getpid()}" in into.read_text()
    tool(tmp_path, "py-spy", "exit 1")
    tool(tmp_path, "gdb", 'echo "debugged $*"')
    assert stacks.dump([os.getpid()], into, Proc(), search=str(tmp_path)) == ["gdb"]


def may_trace() -> bool:
    """Whether a debugger may look at processes that it has not started."""
    scope = Path("/proc/sys/kernel/yama/ptrace_scope")
    return os.geteuid() == 0 or not scope.exists() or scope.read_text().strip() == "0"


@pytest.mark.skipif(shutil.which("gdb") is None or not may_trace(), reason="needs gdb, and the right to use it")
def test_gdb_tells_the_stack_of_a_real_process(tmp_path: Path) -> None:
    child = subprocess.Popen(["sleep", "60"])
    into = tmp_path / "stacks.txt"
    try:
        assert stacks.dump([child.pid], into, Proc(), patience_s=60.0) == ["gdb"]
    finally:
        child.kill()
        child.wait()
    assert "nanosleep" in into.read_text()


def test_a_stack_tool_that_hangs_or_lacks_costs_no_more_than_the_patience(tmp_path: Path) -> None:
    tool(tmp_path, "gdb", "sleep 30")
    into = tmp_path / "stacks.txt"
    begun = time.monotonic()
    assert stacks.dump([os.getpid()], into, Proc(), patience_s=0.2, search=str(tmp_path)) == []
    assert time.monotonic() - begun < 10
    assert stacks.dump([os.getpid()], into, Proc(), search="/nowhere") == []
    assert f"== process {os.getpid()} (state R)" in into.read_text()
    assert stacks.dump([os.getpid()], tmp_path / "no" / "dir", Proc(), search="/nowhere") == []
