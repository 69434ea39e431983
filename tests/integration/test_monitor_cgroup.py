"""Payloads in real cgroups of this machine; the same ways in a User-mode Linux guest are in tests/system."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from monitor_payloads import BURN, Inbox, inbox, monitor

from pilot.core.errors import PayloadExecutionException
from pilot.core.limits import Limits, aftermath
from pilot.engine.monitor import LimitBroken, Monitor
from pilot.lib import kin, process
from pilot.lib.cgroup import Bounds, Group, attach
from pilot.lib.cgroup_ground import Ground
from tests.spawning import python_children

ROOT = Path(__file__).parents[2]

__all__ = ["inbox", "monitor"]

InGroup = Callable[[str, Group], process.Child]


@pytest.fixture
def ground() -> Iterator[Ground]:
    """Made where this machine allows it; elsewhere there is nothing to test."""
    found = Ground.prepare()
    if found is None:
        pytest.skip("no cgroup can be made here")
    yield found
    found.restore()


@pytest.fixture
def run(tmp_path: Path) -> Iterator[InGroup]:
    with python_children(tmp_path, BURN) as spawn:
        yield lambda code, group: spawn(code, cgroup=group)


def wait(child: process.Child) -> None:
    assert select.select([child.pidfd], [], [], 20)[0], "the payload did not end"


def test_a_group_is_made_holds_its_payload_and_is_removed(ground: Ground, run: InGroup) -> None:
    group = ground.make("a")
    assert group is not None
    child = run("child(time.sleep, 20); time.sleep(20)", group)
    first = [pid for pid in group.pids() if pid == child.pid]
    assert first and not group.remove()
    child.kill()
    wait(child)
    child.poll()
    child.close()
    assert group.remove() and not any(directory.exists() for directory in group.directories)


def test_what_the_payload_sees_does_not_depend_on_its_group(ground: Ground, run: InGroup, tmp_path: Path) -> None:
    group = ground.make("plain")
    assert group is not None
    child = run("print(sorted(k for k in os.environ if k not in ('LC_CTYPE', 'SHLVL', '_')), sys.argv)", group)
    wait(child)
    assert child.poll().code == 0  # type: ignore[union-attr]
    assert (tmp_path / "payload.stdout").read_text() == "['PATH', 'PILOT_TOKEN'] ['-c']\n"


def test_a_program_that_is_not_there_is_told_in_a_group_too(ground: Ground, tmp_path: Path) -> None:
    group = ground.make("none")
    assert group is not None
    for argv in (["/no/such"], ["no-such"], ["/etc/passwd"]):
        with pytest.raises(PayloadExecutionException, match=argv[0]):
            process.spawn(argv, cwd=tmp_path, env={"PATH": "/bin"}, stdout=1, stderr=2, cgroup=group, token="t")
    assert group.remove()


def test_running_out_of_memory_is_known_from_the_kernels_counter(
    ground: Ground, run: InGroup, monitor: Monitor, inbox: Inbox, tmp_path: Path
) -> None:
    group = ground.make("oom", Bounds(memory_mb=48, swap_mb=0))
    assert group is not None and "memory_mb" in group.enforced
    limits = Limits(memory_mb=48)
    child = run("time.sleep(0.5); kept = hold(200); time.sleep(20)", group)
    monitor.watch("1.1", child, tmp_path, limits)
    wait(child)
    assert child.poll().signal == 9  # type: ignore[union-attr]
    usage = monitor.unwatch("1.1")
    assert usage.oom_kills >= 1 and 40 * 1024 < usage.cgroup_peak_kb <= 48 * 1024
    failure = aftermath(limits, usage)
    assert failure is not None and failure.code == 1212
    assert "the kernel ended processes of it (peak 48 MB, limit 48 MB)" in failure.message


def test_a_child_of_the_payload_that_runs_out_of_memory_is_told_while_the_payload_goes_on(
    ground: Ground, run: InGroup, monitor: Monitor, inbox: Inbox, tmp_path: Path
) -> None:
    group = ground.make("oomchild", Bounds(memory_mb=48, swap_mb=0))
    assert group is not None
    child = run("pid = child(hold, 200)\nos.waitpid(pid, 0)\ntime.sleep(20)", group)
    monitor.watch("1.1", child, tmp_path, Limits())
    while not isinstance(message := inbox.get(timeout=15), LimitBroken):
        pass
    child.kill()
    wait(child)
    child.poll()
    monitor.unwatch("1.1")
    assert message.failure.code == 1212


def test_cpu_time_in_a_group_is_the_kernels_whatever_becomes_of_parents(
    ground: Ground, run: InGroup, monitor: Monitor, tmp_path: Path
) -> None:
    """The hardest case for /proc: children that nobody waits for, gone between two looks."""
    group = ground.make("cpu")
    assert group is not None
    child = run(
        "import signal\nsignal.signal(17, signal.SIG_IGN)\nfor n in range(10): child(burn, 0.05); time.sleep(0.12)\n",
        group,
    )
    monitor.watch("1.1", child, tmp_path, Limits())
    wait(child)
    child.poll()
    kin.wait_for(group.pids(), 5.0)
    cpu_s = monitor.unwatch("1.1").cpu_s
    truth = group.read()
    assert cpu_s > 0.45
    assert cpu_s == pytest.approx(truth.user_s + truth.system_s, rel=0.02)


def test_all_members_end_at_once_even_those_without_any_mark(ground: Ground, run: InGroup, tmp_path: Path) -> None:
    group = ground.make("kill")
    assert group is not None
    escape = """
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execve(sys.executable, [sys.executable, "-c", "open('here', 'w').close(); import time; time.sleep(60)"], {})
    os._exit(0)
os.wait()
while not os.path.exists('here'): time.sleep(0.01)
"""
    child = run(escape, group)
    wait(child)
    child.poll()
    (left,) = group.pids()
    assert child.members() == [left]
    assert process.survivors(child.identity) == [left]
    assert process.end_survivors(child.identity, 5.0) == []
    assert not any(directory.exists() for directory in group.directories)


def test_processes_are_limited_by_the_kernel(ground: Ground, run: InGroup, tmp_path: Path) -> None:
    group = ground.make("pids", Bounds(processes=4))
    assert group is not None
    if "processes" not in group.enforced:
        pytest.skip("no pids controller here")
    child = run(
        "time.sleep(0.3)\ntry:\n  [child(time.sleep, 1) for n in range(9)]\nexcept BlockingIOError: print('enough')",
        group,
    )
    wait(child)
    child.kill()
    assert (tmp_path / "payload.stdout").read_text() == "enough\n"


def test_the_processors_of_a_group_hold_for_all_members(ground: Ground, run: InGroup, tmp_path: Path) -> None:
    one = max(os.sched_getaffinity(0))
    group = ground.make("cpus", Bounds(cpus=frozenset({one})))
    assert group is not None
    if "cpus" not in group.enforced:
        pytest.skip("no cpuset controller here")
    child = run("time.sleep(0.3); print(os.sched_getaffinity(0))", group)
    wait(child)
    assert (tmp_path / "payload.stdout").read_text() == f"{{{one}}}\n"


def test_a_quota_of_cpu_time_shows_as_throttling(
    ground: Ground, run: InGroup, monitor: Monitor, tmp_path: Path
) -> None:
    group = ground.make("quota", Bounds(cores=0.03))
    assert group is not None
    if "cores" not in group.enforced:
        pytest.skip("no cpu controller here")
    child = run("burn(0.05)", group)
    monitor.watch("1.1", child, tmp_path, Limits())
    wait(child)
    child.poll()
    assert monitor.unwatch("1.1").throttled_s > 0.1


def test_pressure_tells_how_long_members_waited(ground: Ground, run: InGroup, monitor: Monitor, tmp_path: Path) -> None:
    """Two that compute on one processor: each waits while the other runs."""
    group = ground.make("pressure")
    assert group is not None
    if not any((directory / "cpu.pressure").exists() for directory in group.directories):
        pytest.skip("no pressure stall information here")
    one = max(os.sched_getaffinity(0))
    child = run(
        f"os.sched_setaffinity(0, {{{one}}})\nfor n in range(2): child(burn, 0.5)\nfor n in range(2): os.wait()", group
    )
    monitor.watch("1.1", child, tmp_path, Limits())
    wait(child)
    child.poll()
    usage = monitor.unwatch("1.1")
    assert usage.stalled_cpu_s > 0.25


def test_blocks_that_members_write_are_told(ground: Ground, run: InGroup, tmp_path: Path) -> None:
    """By v2 alone: v1 does not know who wrote what the kernel writes later. And only where there is a block device."""
    group = ground.make("blocks")
    assert group is not None
    if len(group.directories) > 1 or os.major(tmp_path.stat().st_dev) == 0:
        pytest.skip("needs cgroup v2 and a file system on a block device")
    child = run("f = open('big', 'wb'); f.write(os.urandom(1 << 20) * 8); f.flush(); os.fsync(f.fileno())", group)
    wait(child)
    assert 8 << 20 <= group.read().write_bytes < 12 << 20


def test_a_group_is_found_again_by_its_identity(ground: Ground, run: InGroup) -> None:
    group = ground.make("again", Bounds(memory_mb=100))
    assert group is not None
    child = run("time.sleep(20)", group)
    again = attach(child.identity.cgroup)
    assert again is not None and again.pids() == [child.pid] and again.read().processes == group.read().processes
    again.kill()
    wait(child)
    assert attach("") is None


def test_empty_groups_of_dead_pilots_are_swept_away_and_no_others(ground: Ground) -> None:
    group = ground.make("mine")
    assert group is not None
    directory = group.directories[0]
    stale = directory.with_name(f"pilot-{os.getpid()}.1-old")
    foreign = directory.with_name("somebody")
    stale.mkdir()
    foreign.mkdir()
    try:
        another = Ground.prepare()
        assert another is not None
        assert not stale.exists() and foreign.exists() and directory.exists()
    finally:
        foreign.rmdir()
        group.remove()


GROUND = """
import os, signal, sys
from pilot.lib.cgroup import Bounds
from pilot.lib.cgroup_ground import Ground
ground = Ground.prepare()
if ground is None:
    sys.exit("no ground")
group = ground.make("t", Bounds(memory_mb=200))
print(sorted(group.enforced), flush=True)
if os.fork() == 0:  # another pilot in the same slot, as far as anybody can tell
    other = Ground.prepare()
    theirs = other.make("theirs", Bounds(memory_mb=100))
    payload = os.fork()
    if payload == 0:
        signal.pause()
    for at in theirs.directories:
        (at / "cgroup.procs").write_text(str(payload))
    ground.restore()
    files = [at / name for at in theirs.directories for name in ("memory.max", "memory.limit_in_bytes")]
    print(any(file.exists() for file in files), flush=True)
    os.kill(payload, signal.SIGKILL)
    os.waitpid(payload, 0)
    print(theirs.remove(), flush=True)
    os._exit(0)
os.wait()
assert group.remove()
ground.restore()
"""


def test_what_was_started_with_the_pilot_does_not_stand_in_its_way(tmp_path: Path) -> None:
    """A wrapper's own background process, and the other end of the pilot's pipe."""
    found = Ground.prepare()
    if found is None:
        pytest.skip("no cgroup can be made here")
    found.restore()
    before = Path("/proc/self/cgroup").read_text()
    (tmp_path / "program.py").write_text(GROUND)
    line = f"sleep 60 & {sys.executable} {tmp_path}/program.py | cat; kill $!; wait"
    done = subprocess.run(
        ["sh", "-c", line], env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60
    )
    told = done.stdout.splitlines()
    assert done.stderr == "" and told == ["['memory_mb']", "True", "True"]
    assert Path("/proc/self/cgroup").read_text() == before
