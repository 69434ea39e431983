"""Starting, signalling and collecting our own processes: real processes, real signals."""

from __future__ import annotations

import os
import select
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pilot.core.errors import PayloadExecutionException
from pilot.lib import kin, process
from pilot.lib.procfs import Proc
from tests.spawning import Start, python_children


@pytest.fixture(scope="module", autouse=True)
def subreaper() -> None:
    assert process.become_subreaper()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    with python_children(tmp_path, said="out") as spawn:
        yield spawn


def wait(child: process.Child) -> None:
    assert select.select([child.pidfd], [], [], 10)[0], "the child did not end in time"


def wait_for(path: Path) -> None:
    """Wait for a line of a fifo-like marker file, without a loop over sleep: inotify is not worth it in a test."""
    deadline = select.poll()
    for _ in range(3000):
        if path.exists() and path.read_text().endswith("\n"):
            return
        deadline.poll(10)
    raise AssertionError(f"{path} did not come")


ESCAPE = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    between = os.getpid()
    if os.fork() == 0:
        while os.getppid() == between: time.sleep(0.001)
        {wipe}
        open("escaped", "w").write(f"{{os.getpid()}}\\n")
        time.sleep(60)
    os._exit(0)
os.wait()
{after}
"""


def test_the_exit_code_and_the_signal_of_a_child_are_told(start: Start) -> None:
    ended, killed = start("raise SystemExit(3)"), start("import os; os.kill(os.getpid(), 11)")
    wait(ended)
    wait(killed)
    assert (ended.poll().code, ended.poll().status) == (3, 3)  # type: ignore[union-attr]
    assert (killed.poll().signal, killed.poll().status) == (11, 139)  # type: ignore[union-attr]


def test_a_running_child_has_no_exit_and_is_its_only_member(start: Start) -> None:
    child = start("import time; time.sleep(60)")
    assert child.poll() is None
    assert child.members() == [child.pid]
    assert os.getsid(child.pid) == child.pid == child.sid


def test_a_child_sees_only_its_own_environment_and_token(start: Start, tmp_path: Path) -> None:
    child = start("import os; print(sorted(k for k in os.environ if k != 'LC_CTYPE'), os.environ['PILOT_TOKEN'])")
    wait(child)
    assert (tmp_path / "out").read_text() == f"['PATH', 'PILOT_TOKEN'] {child.token}\n"


def test_a_child_has_no_input_and_no_inherited_files(start: Start, tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    os.set_inheritable(write_end, True)
    child = start("import os, sys; print(repr(sys.stdin.read()), sorted(map(int, os.listdir('/proc/self/fd')))[:-1])")
    wait(child)
    os.close(read_end)
    os.close(write_end)
    assert (tmp_path / "out").read_text() == "'' [0, 1, 2]\n"


def test_a_child_runs_on_its_processors_and_the_pilot_on_its_own_as_before(start: Start, tmp_path: Path) -> None:
    mine = os.sched_getaffinity(0)
    one = max(mine)
    child = start("import os; print(os.sched_getaffinity(0))", cpus=frozenset({one}))
    wait(child)
    assert (tmp_path / "out").read_text() == f"{{{one}}}\n"
    assert os.sched_getaffinity(0) == mine


@pytest.mark.parametrize("argv", [["/no/such/program"], ["/etc/passwd"], ["a\0b"]])
def test_a_program_that_cannot_be_started_is_told_by_name(tmp_path: Path, argv: list[str]) -> None:
    with pytest.raises(PayloadExecutionException, match="could not be executed: .*" + argv[0][:5].replace("\0", ".")):
        process.spawn(argv, cwd=tmp_path, env={}, stdout=1, stderr=2, token="t")


def test_terminate_and_kill_are_harmless_after_death(start: Start) -> None:
    child = start("pass")
    wait(child)
    assert child.terminate() == [] == child.kill()
    child.poll()
    assert child.terminate() == [] == child.kill()


def test_kill_reaches_a_descendant_that_left_session_and_parent(start: Start, tmp_path: Path) -> None:
    child = start(ESCAPE.format(wipe="pass", after="time.sleep(60)"))
    wait_for(tmp_path / "escaped")
    escaped = int((tmp_path / "escaped").read_text())
    assert set(child.members()) == {child.pid, escaped}
    assert set(child.kill()) == {child.pid, escaped}


RUNAWAY = """
import os, time
end = time.monotonic() + 20
open("escaped", "w").write("1\\n")
while time.monotonic() < end:
    if os.fork():
        time.sleep(0.001)
        os._exit(0)
    os.setsid()
"""


def test_kill_catches_a_payload_that_runs_away_from_process_to_process(start: Start, tmp_path: Path) -> None:
    child = start(RUNAWAY)
    wait_for(tmp_path / "escaped")
    child.kill()
    kin.wait_for(child.members(), 30.0)
    assert child.members() == []


def test_what_a_payload_leaves_behind_is_found_after_its_end(start: Start, tmp_path: Path) -> None:
    child = start(ESCAPE.format(wipe="pass", after=""))
    wait(child)
    wait_for(tmp_path / "escaped")
    child.poll()
    assert child.members() == [int((tmp_path / "escaped").read_text())]
    assert child.terminate() == child.kill() or child.members() == []


def test_a_stopped_payload_can_be_terminated(start: Start) -> None:
    child = start("import os; os.kill(os.getpid(), 19)")
    os.waitid(os.P_PID, child.pid, os.WSTOPPED)
    child.terminate()
    wait(child)
    assert child.poll().signal == signal.SIGTERM  # type: ignore[union-attr]


def test_strays_are_collected_and_spawned_children_are_left_alone(start: Start, tmp_path: Path) -> None:
    child = start("import os\nif os.fork() == 0:\n  if os.fork() == 0: print(os.getpid(), flush=True)\n  os._exit(0)")
    wait(child)
    neighbour = subprocess.Popen(["true"], start_new_session=True)
    os.waitid(os.P_PID, neighbour.pid, os.WEXITED | os.WNOWAIT)
    strays: list[process.Stray] = []
    for _ in range(1000):
        strays += process.reap_strays({child.sid: child.start_ticks}, {})
        if len(strays) == 2:
            break
        select.select([], [], [], 0.01)
    assert {stray.session for stray in strays} == {child.sid}
    assert child.poll().code == 0  # type: ignore[union-attr]
    assert neighbour.wait() == 0


def test_survivors_are_proven_by_birth_session_or_token(start: Start, tmp_path: Path) -> None:
    child = start(ESCAPE.format(wipe="pass", after="time.sleep(60)"))
    wait_for(tmp_path / "escaped")
    escaped = int((tmp_path / "escaped").read_text())
    me = child.identity
    assert set(process.survivors(me)) == {child.pid, escaped}
    boot, _, ticks = me.birth.rpartition(":")
    other = kin.Identity(me.pid, f"{boot}:{int(ticks) - 1}", me.sid, "another-token")
    assert process.survivors(other) == []
    assert process.survivors(kin.Identity(me.pid, f"another-boot:{ticks}", me.sid, me.token)) == []


def test_end_survivors_ends_those_that_ignore_sigterm_and_nobody_else(start: Start, tmp_path: Path) -> None:
    neighbour = start("import time; time.sleep(60)")
    child = start(
        "import signal, time; signal.signal(15, signal.SIG_IGN); open('escaped', 'w').write('1\\n'); time.sleep(60)"
    )
    wait_for(tmp_path / "escaped")
    assert process.end_survivors(child.identity, 0.1) == []
    wait(child)
    assert child.poll().signal == signal.SIGKILL  # type: ignore[union-attr]
    assert neighbour.poll() is None


def test_a_number_given_anew_is_never_signalled(start: Start) -> None:
    child = start("import time; time.sleep(60)")
    assert not kin.send(child.pid, child.start_ticks - 1, signal.SIGKILL, Proc())
    assert kin.send(child.pid, child.start_ticks, signal.SIGTERM, Proc())
