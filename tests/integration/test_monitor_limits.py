"""Every limit, broken by a real process: the error number, and a message with value and limit."""

from __future__ import annotations

import os
import re
import select
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from monitor_payloads import Inbox, Start, inbox, monitor, payload

from pilot.core.errors import Failure
from pilot.core.limits import Limits, aftermath
from pilot.core.usage import Usage
from pilot.engine.monitor import LimitBroken, Monitor
from pilot.lib import process

__all__ = ["inbox", "monitor", "payload"]


def first_broken(inbox: Inbox, patience_s: float = 15.0) -> Failure:
    """The first broken limit that the monitor tells."""
    end = time.monotonic() + patience_s
    while (left_s := end - time.monotonic()) > 0:
        message = inbox.get(timeout=left_s)
        if isinstance(message, LimitBroken):
            return message.failure
    raise AssertionError("no limit was broken")


def ended(monitor: Monitor, child: process.Child) -> Usage:
    """End the payload as the engine does, and stop looking."""
    child.kill()
    assert select.select([child.pidfd], [], [], 10)[0]
    child.poll()
    return monitor.unwatch("1.1")


@pytest.mark.parametrize(
    ("limits", "code", "told", "work"),
    [
        (Limits(memory_mb=60), 1235, r"PSS \d+ MB over the limit of 60 MB", "kept = hold(80)"),
        (Limits(cpu_s=1), 1213, r"CPU time 1\.\d s over the limit of 1 s", "burn(9)"),
        (Limits(wall_s=1), 1213, r"wall time \d+\.\d s over the limit of 1 s", ""),
        (Limits(processes=3), 1344, "processes [45] over the limit of 3", "[child(time.sleep, 20) for n in range(4)]"),
        (
            Limits(open_files=50),
            1344,
            r"open files \d+ over the limit of 50",
            "kept = [open('/dev/null') for n in range(60)]",
        ),
        (
            Limits(workdir_mb=5, workdir_grace=1.0),
            1104,
            r"work directory \d+\.\d MB over the limit of 5 MB",
            "os.mkdir('a'); open('a/b', 'wb').write(bytes(8_000_000))",
        ),
        (
            Limits(output_mb=3),
            1124,
            r"out\.root [34]\.\d MB over the limit of 3 MB",
            "open('out.root', 'wb').write(bytes(5_000_000))",
        ),
        (
            Limits(stdout_mb=1),
            1106,
            r"payload\.stdout [12]\.\d MB over the limit of 1 MB",
            "os.write(1, b'line\\n' * 300_000)",
        ),
        (
            Limits(idle_s=1),
            1150,
            r"no CPU time, I/O or change of a file for \d s, limit 1 s \(1S\)",
            "",
        ),
        (Limits(looping_s=1), 1150, r"no I/O or change of a file for \d s, limit 1 s", "burn(20)"),
    ],
)
def test_a_broken_limit_is_told_with_number_value_and_limit(
    monitor: Monitor, inbox: Inbox, payload: Start, tmp_path: Path, limits: Limits, code: int, told: str, work: str
) -> None:
    child = payload(work + "\ntime.sleep(20)\n")
    monitor.watch("1.1", child, tmp_path, limits, outputs=["out.root", "never.root"])
    failure = first_broken(inbox)
    ended(monitor, child)
    assert (failure.code, failure.owner) == (code, "payload")
    assert re.search(told, failure.message), failure.message


def test_a_payload_within_its_limits_is_left_alone_and_told_only_once_when_not(
    monitor: Monitor, inbox: Inbox, payload: Start, tmp_path: Path
) -> None:
    fine = payload("burn(0.2); time.sleep(0.8)")
    everything = Limits(
        **dict.fromkeys(("memory_mb", "workdir_mb", "output_mb", "stdout_mb", "processes", "open_files"), 900),
        **dict.fromkeys(("cpu_s", "wall_s", "looping_s", "idle_s", "disk_free_mb"), 60),
    )
    monitor.watch("fine", fine, tmp_path, everything)
    bad = payload("time.sleep(1.2)")
    monitor.watch("bad", bad, tmp_path, Limits(wall_s=1, time_grace=0.2))
    for child in (fine, bad):
        assert select.select([child.pidfd], [], [], 10)[0]
    monitor.unwatch("fine")
    monitor.unwatch("bad")
    told = [m for m in (inbox.get() for _ in range(inbox.qsize())) if isinstance(m, LimitBroken)]
    assert [m.key for m in told] == ["bad"]


def test_memory_may_be_exceeded_for_the_grace_time(
    monitor: Monitor, inbox: Inbox, payload: Start, tmp_path: Path
) -> None:
    child = payload("kept = hold(60); time.sleep(0.8); del kept; time.sleep(1.5); kept = hold(60); time.sleep(20)")
    monitor.watch("1.1", child, tmp_path, Limits(memory_mb=40, memory_grace_s=1.5))
    failure = first_broken(inbox)
    assert failure.code == 1235
    assert ended(monitor, child).wall_s > 3


def test_a_log_over_its_limit_keeps_head_and_tail_byte_for_byte(
    monitor: Monitor, inbox: Inbox, payload: Start, tmp_path: Path
) -> None:
    work = "os.write(1, b'first \\xff\\n' + b'x' * 40 * 100_000 + b'\\nlast \\xfe\\n'); time.sleep(20)"
    child = payload(work)
    monitor.watch("1.1", child, tmp_path, Limits(stdout_mb=2, stdout_keep_mb=0.25))
    assert first_broken(inbox).code == 1106
    ended(monitor, child)
    kept = (tmp_path / "payload.stdout").read_bytes()
    assert kept.startswith(b"first \xff\n") and kept.endswith(b"\nlast \xfe\n")
    assert re.search(rb"\n\[\.\.\. \d+ bytes left out here \.\.\.\]\n", kept)
    assert len(kept) < 600_000


@pytest.fixture
def shared_memory() -> Iterator[Path]:
    """A directory on a file system in memory that nobody else fills."""
    directory = Path(tempfile.mkdtemp(dir="/dev/shm"))
    yield directory
    shutil.rmtree(directory)


def test_a_filling_disk_costs_the_payload_that_fills_it_and_tells_when_it_would_be_full(
    monitor: Monitor, inbox: Inbox, payload: Start, shared_memory: Path, tmp_path: Path
) -> None:
    facts = os.statvfs(shared_memory)
    limits = Limits(disk_free_mb=(facts.f_bavail * facts.f_frsize >> 20) - 40)
    (shared_memory / "a").mkdir()
    (shared_memory / "b").mkdir()
    innocent = payload("time.sleep(20)")
    monitor.watch("innocent", innocent, shared_memory / "a", limits)
    fill = f"f = open('{shared_memory}/b/big', 'wb')\nfor n in range(80): f.write(bytes(1 << 20)); time.sleep(0.02)\n"
    child = payload(fill + "time.sleep(20)")
    monitor.watch("1.1", child, shared_memory / "b", limits)
    failure = first_broken(inbox)
    monitor.unwatch("innocent")
    ended(monitor, child)
    assert (failure.code, failure.owner) == (1098, "site")
    assert re.search(r"[\d.]+ MB free, \d+ MB must stay, full in \d+ s at [\d.]+ MB/s", failure.message)
    told = [m for m in (inbox.get() for _ in range(inbox.qsize())) if isinstance(m, LimitBroken)]
    assert told == []


def test_a_stopped_payload_is_told_as_such_with_what_its_processes_do(
    monitor: Monitor, inbox: Inbox, payload: Start, tmp_path: Path
) -> None:
    child = payload("time.sleep(20)")
    os.kill(child.pid, signal.SIGSTOP)
    monitor.watch("1.1", child, tmp_path, Limits(idle_s=1))
    failure = first_broken(inbox)
    ended(monitor, child)
    assert failure.code == 1150 and failure.message.endswith("(1T); all processes are stopped")
    assert f"== process {child.pid} (state T)" in (tmp_path / "stacks.txt").read_text()


def test_a_core_dump_is_found_by_its_content(monitor: Monitor, inbox: Inbox, payload: Start, tmp_path: Path) -> None:
    head = b"\\x7fELF\\x02\\x01\\x01" + b"\\0" * 9 + b"\\x04\\0"
    code = f"""
os.mkdir('run')
open('run/core.123', 'wb').write({head!r}.decode('unicode_escape').encode('latin1'))
open('core', 'w').write('the core of the matter')
"""
    child = payload(code)
    monitor.watch("1.1", child, tmp_path, Limits())
    assert select.select([child.pidfd], [], [], 10)[0]
    usage = monitor.unwatch("1.1")
    assert usage.core_dumps == ("run/core.123",)
    failure = aftermath(Limits(), usage)
    assert failure is not None and failure.code == 1355 and "run/core.123" in failure.message
