"""The sampler over real payloads: its figures against the kernel's own."""

from __future__ import annotations

import json
import os
import select
import time
from pathlib import Path

import pytest
from monitor_payloads import Inbox, Start, inbox, monitor, payload

from pilot.core.limits import Limits
from pilot.core.usage import Usage
from pilot.engine.monitor import Monitor, Sampled
from pilot.lib import process
from pilot.lib.procfs import Proc

__all__ = ["inbox", "monitor", "payload"]


def watched(monitor: Monitor, child: process.Child, workdir: Path, limits: Limits | None = None) -> Usage:
    """Watch a payload to its end, as the engine does."""
    monitor.watch("1.1", child, workdir, limits or Limits())
    assert select.select([child.pidfd], [], [], 30)[0], "the payload did not end"
    child.poll()
    return monitor.unwatch("1.1")


def test_cpu_time_holds_short_lived_children_and_orphans(monitor: Monitor, payload: Start, tmp_path: Path) -> None:
    before = os.times()
    usage = watched(
        monitor,
        payload("""
for n in range(5): os.waitpid(child(burn, 0.1), 0)
def orphan():
    os.setsid()
    with open('orphan', 'w') as file: file.write(str(child(burn, 0.3)))
os.waitpid(child(orphan), 0)
burn(0.5)
stat = f"/proc/{open('orphan').read()}/stat"
while os.path.exists(stat):  # it has ended when the payload ends, however busy the machine is
    try:
        if open(stat).read().rpartition(')')[2].split()[0] == 'Z': break
    except OSError:
        break
    time.sleep(0.01)
"""),
        tmp_path,
    )
    after = os.times()
    truth_s = after.children_user + after.children_system - before.children_user - before.children_system
    assert usage.cpu_s == pytest.approx(truth_s, rel=0.02)
    assert usage.cpu_s > 1.2


def test_cpu_time_of_children_nobody_waits_for_is_kept_as_last_seen(
    monitor: Monitor, payload: Start, tmp_path: Path
) -> None:
    usage = watched(
        monitor,
        payload(
            "import signal\nsignal.signal(17, signal.SIG_IGN)\nchild(burn, 0.8)\n"
            "try: os.wait()\nexcept ChildProcessError: pass\n"
        ),
        tmp_path,
    )
    assert 0.5 < usage.cpu_s < 1.1


def test_memory_of_four_children_is_counted_in_full(monitor: Monitor, payload: Start, tmp_path: Path) -> None:
    usage = watched(
        monitor,
        payload("""
def hog():
    kept = hold(50)
    open(f'ready{os.getpid()}', 'w').close()
    while sum(name.startswith('ready') for name in os.listdir()) < 4: time.sleep(0.02)
    time.sleep(0.8)
for pid in [child(hog) for n in range(4)]: os.waitpid(pid, 0)
"""),
        tmp_path,
    )
    assert 200 * 1024 <= usage.max_pss_kb < 250 * 1024
    assert usage.max_processes == 5


def test_a_peak_is_known_exactly_although_the_budget_for_page_walks_is_used_up(
    inbox: Inbox, payload: Start, tmp_path: Path
) -> None:
    """Four children that share 60 MB with their parent: 300 MB resident, 60 MB in truth."""
    monitor = Monitor(inbox.put, interval_s=0.2)
    monitor._budget.spend(1000.0)
    monitor.start()
    work = "kept = hold(60)\nfor n in range(4): child(time.sleep, 1.5)\nfor n in range(4): os.wait()\n"
    usage = watched(monitor, payload(work), tmp_path)
    monitor.close()
    assert 60 * 1024 < usage.max_pss_kb < 75 * 1024
    assert usage.max_rss_kb > 280 * 1024


def orphan_zombies() -> list[int]:
    """Children of this thread that have ended, lead a session and were not collected."""
    found = []
    for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        if fields[0] == "Z" and fields[3] == pid:
            found.append(int(pid))
    return found


#: Twenty short-lived daemons, ten of which lead a session; ends when all have ended.
DAEMONS = """
read, write = os.pipe()
for n in range(20):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            if n % 2: os.setsid()
            burn(0.03)
        os._exit(0)
    os.wait()
os.close(write)
os.read(read, 1)
"""


def test_daemons_that_come_and_go_between_two_looks_are_counted(inbox: Inbox, payload: Start, tmp_path: Path) -> None:
    """Nobody has ever seen them alive, and those that led a session might be somebody's who waits for them."""
    monitor = Monitor(inbox.put, interval_s=60.0)
    monitor.start()
    before = os.times()
    usage = watched(monitor, payload("time.sleep(0.7)\n" + DAEMONS + "time.sleep(0.3)\n"), tmp_path)
    monitor.close()
    for pid in orphan_zombies():
        os.waitpid(pid, 0)
    after = os.times()
    truth_s = after.children_user + after.children_system - before.children_user - before.children_system
    assert truth_s > 0.6
    assert usage.cpu_s == pytest.approx(truth_s, rel=0.15), "ticks of 40 short lives; unseen they would be 0.6 s less"


def test_ended_session_leaders_that_nobody_waits_for_do_not_pile_up(
    monitor: Monitor, payload: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pilot.engine.monitor_orphans._SURELY_NOBODYS_S", 0.5)
    child = payload(DAEMONS + "open('done', 'w').close()\ntime.sleep(60)\n")
    monitor.watch("1.1", child, tmp_path, Limits())
    end = time.monotonic() + 30
    while time.monotonic() < end and (orphan_zombies() or not (tmp_path / "done").exists()):
        select.select([child.pidfd], [], [], 0.1)
    assert (tmp_path / "done").exists() and orphan_zombies() == []
    assert child.poll() is None


def test_io_of_ended_children_is_counted(monitor: Monitor, payload: Start, tmp_path: Path) -> None:
    usage = watched(
        monitor, payload("os.waitpid(child(lambda: open('f', 'wb').write(bytes(3_000_000))), 0)\n"), tmp_path
    )
    assert 3_000_000 <= usage.wchar < 3_100_000


def test_the_files_are_prmons(monitor: Monitor, inbox: Inbox, payload: Start, tmp_path: Path) -> None:
    usage = watched(monitor, payload("kept = hold(20)\nburn(0.2)\ntime.sleep(2.6)\n"), tmp_path)
    head, *lines = (tmp_path / "memory_monitor_output.txt").read_text().splitlines()
    names = head.split("\t")
    needed = {"Time", "nprocs", "nthreads", "pss", "rss", "swap", "vmem", "utime", "stime", "wtime"}
    assert needed | {"rchar", "read_bytes", "wchar", "write_bytes"} == set(names) and names[0] == "Time"
    assert len(lines) >= 3 and all(len(line.split("\t")) == len(names) for line in lines)
    assert max(int(line.split("\t")[names.index("pss")]) for line in lines) == usage.max_pss_kb > 20 * 1024
    document = json.loads((tmp_path / "memory_monitor_summary.json").read_text())
    assert document["Max"]["pss"] == usage.max_pss_kb
    assert set(document["Avg"]) == needed - {"Time", "utime", "stime", "wtime"} | {
        "rchar",
        "read_bytes",
        "wchar",
        "write_bytes",
    }
    assert document["HW"]["cpu"]["CPUs"] == os.cpu_count()
    posted = [inbox.get_nowait() for _ in range(inbox.qsize())]
    assert len([m for m in posted if isinstance(m, Sampled)]) > len(lines)
    times = [int(line.split("\t")[0]) for line in lines]
    assert times == sorted(set(times))


def test_a_payload_that_ends_at_once_is_accounted_too(monitor: Monitor, payload: Start, tmp_path: Path) -> None:
    usage = watched(monitor, payload(""), tmp_path)
    assert usage.max_rss_kb > 1000 and usage.cpu_s > 0
    assert (tmp_path / "memory_monitor_summary.json").exists()


def test_the_memory_of_a_small_payload_is_its_own_and_not_that_of_the_pilot_it_began_as(
    monitor: Monitor, tmp_path: Path
) -> None:
    for n in range(5):
        child = process.spawn(["/bin/true"], cwd=tmp_path, env={}, stdout=1, stderr=2, token=f"t{n}")
        usage = watched(monitor, child, tmp_path)
        child.close()
        assert 0 < usage.max_rss_kb < 8 * 1024 < child.spent.max_rss_kb


def test_a_short_peak_of_the_first_process_is_seen_afterwards(monitor: Monitor, payload: Start, tmp_path: Path) -> None:
    """At the next look, by the kernel's high-water mark: the peak itself falls between two looks."""
    usage = watched(monitor, payload("kept = hold(24); del kept; time.sleep(1.2)"), tmp_path)
    assert 24 * 1024 < usage.max_rss_kb < 45 * 1024
    assert usage.max_pss_kb == usage.max_rss_kb if usage.pss_at_most else usage.max_pss_kb > 20 * 1024


def test_a_work_directory_that_vanishes_costs_the_files_only(monitor: Monitor, payload: Start, tmp_path: Path) -> None:
    usage = watched(monitor, payload("burn(0.3)"), tmp_path / "gone")
    assert usage.cpu_s > 0.2


def test_what_nobody_watches_has_used_nothing(monitor: Monitor) -> None:
    assert monitor.unwatch("unknown") == Usage()
    assert monitor.latest("unknown") is None


def test_processes_that_are_no_descendants_are_counted_when_they_are_included(
    monitor: Monitor, payload: Start, tmp_path: Path
) -> None:
    behind = payload("kept = hold(40)\nburn(0.3)\nopen('done', 'w').close()\ntime.sleep(60)")
    front = payload("while not os.path.exists('done'): time.sleep(0.05)\ntime.sleep(0.8)")
    monitor.watch("1.1", front, tmp_path, Limits())
    assert monitor.include("1.1", behind.pid)
    assert not monitor.include("unknown", behind.pid) and not monitor.include("1.1", 2**22 + 1)
    assert select.select([front.pidfd], [], [], 30)[0]
    front.poll()
    usage = monitor.unwatch("1.1")
    assert usage.max_processes == 2 and usage.max_pss_kb > 40 * 1024 and usage.cpu_s > 0.3


def test_a_peak_between_two_records_is_put_on_record(inbox: Inbox, payload: Start, tmp_path: Path) -> None:
    monitor = Monitor(inbox.put, interval_s=0.1, record_s=60.0)
    monitor.start()
    child = payload("time.sleep(1); kept = hold(60); time.sleep(0.6); del kept; time.sleep(0.6)")
    monitor.watch("1.1", child, tmp_path, Limits())
    assert select.select([child.pidfd], [], [], 30)[0]
    usage = monitor.unwatch("1.1")
    monitor.close()
    series = [m.sample.pss_kb for m in (inbox.get() for _ in range(inbox.qsize())) if isinstance(m, Sampled)]
    assert max(series) == usage.max_pss_kb > 60 * 1024
    assert len(series) < 8


def test_a_peak_that_no_look_fell_into_does_not_leave_a_smaller_pss(
    inbox: Inbox, payload: Start, tmp_path: Path
) -> None:
    """The only looks are those before the payload grows, and the one after its end."""
    monitor = Monitor(inbox.put)  # its thread is not started
    size_mb = Proc().peak_kb(os.getpid()) // 1024 + 200  # more than this process, as which the payload begins, ever had
    child = payload(
        f"open('up', 'w').close()\nwhile not os.path.exists('go'): time.sleep(0.02)\nkept = hold({size_mb})"
    )
    monitor.watch("1.1", child, tmp_path, Limits())
    until = time.monotonic() + 30
    while not (tmp_path / "up").exists():
        assert time.monotonic() < until
        time.sleep(0.02)
    monitor._look(monitor._watches["1.1"], [])
    (tmp_path / "go").touch()
    assert select.select([child.pidfd], [], [], 30)[0]
    child.poll()
    usage = monitor.unwatch("1.1")
    monitor.close()
    assert usage.max_rss_kb > size_mb * 1024
    assert usage.pss_at_most and usage.max_pss_kb == usage.max_rss_kb
