"""The readers of /proc, over recorded text and over this machine's own."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from pilot.lib.procfs import Io, Proc, parse_stat


def recorded(root: Path, pid: int, *, name: str, parent: int, children: str = "", state: str = "S") -> None:
    """One process of a recorded tree: a stat line as the kernel writes it."""
    (root / str(pid) / "task" / str(pid)).mkdir(parents=True)
    tail = f"{parent} 7 7 0 -1 0 0 0 0 0 11 12 13 14 20 0 1 0 4242 10485760 256 1"
    (root / str(pid) / "stat").write_text(f"{pid} ({name}) {state} {tail}\n")
    (root / str(pid) / "task" / str(pid) / "children").write_text(children)


def test_a_command_name_may_hold_blanks_and_parentheses() -> None:
    stat = parse_stat(b"12 (a) b (c) S 1 7 7 0 -1 0 0 0 0 0 11 12 13 14 20 0 3 0 4242 10485760 256 1")
    assert (stat.pid, stat.state, stat.parent, stat.session) == (12, "S", 1, 7)
    assert (stat.user_ticks, stat.system_ticks, stat.child_user_ticks, stat.child_system_ticks) == (11, 12, 13, 14)
    assert (stat.threads, stat.start_ticks, stat.vmem_kb) == (3, 4242, 10240)
    assert stat.rss_kb == 256 * os.sysconf("SC_PAGE_SIZE") // 1024


def test_a_recorded_tree_is_walked_from_its_root_and_zombies_have_no_children(tmp_path: Path) -> None:
    recorded(tmp_path, 7, name="top", parent=1, children="8 9 ")
    recorded(tmp_path, 8, name="mid", parent=7, children="10 ")
    recorded(tmp_path, 9, name="gone", parent=7, state="Z", children="11 ")
    recorded(tmp_path, 10, name="leaf", parent=8)
    recorded(tmp_path, 11, name="never", parent=9)
    proc = Proc(tmp_path)
    assert list(proc.tree([7])) == [7, 8, 9, 10]
    assert not proc.tree([7])[9].alive
    for pid in (7, 8, 9):
        (tmp_path / str(pid) / "task" / str(pid) / "children").unlink()
    assert list(Proc(tmp_path, lists=False).tree([7])) == [7, 8, 9, 10]
    assert sorted(proc.pids()) == [7, 8, 9, 10, 11]


def test_a_process_that_is_not_there_is_no_error(tmp_path: Path) -> None:
    proc = Proc(tmp_path)
    assert proc.stat(5) is None and proc.io(5) is None and proc.pages(5) is None
    assert proc.children(5) == [] and proc.open_files(5) == 0 and proc.swap_kb(5) == 0
    assert proc.tree([5]) == {} and not proc.has_variable(5, "A", "b")


def test_io_and_pages_are_read_by_name_and_unit(tmp_path: Path) -> None:
    (tmp_path / "5").mkdir()
    (tmp_path / "5" / "io").write_text(
        "rchar: 1\nwchar: 2\nsyscr: 3\nsyscw: 4\nread_bytes: 5\nwrite_bytes: 6\ncancelled_write_bytes: 7\n"
    )
    (tmp_path / "5" / "smaps_rollup").write_text(
        "5581-7ffd ---p 00000000 00:00 0    [rollup]\nRss:   900 kB\nPss:   800 kB\nPss_Dirty: 7 kB\nSwap:   30 kB\n"
        "SwapPss:  1 kB\n"
    )
    proc = Proc(tmp_path)
    pages = proc.pages(5)
    assert proc.io(5) == Io(1, 2, 5, 6)
    assert pages is not None and (pages.rss_kb, pages.pss_kb, pages.swap_kb) == (900, 800, 30)


def test_a_variable_counts_only_as_a_whole(tmp_path: Path) -> None:
    (tmp_path / "5").mkdir()
    (tmp_path / "5" / "environ").write_bytes(b"XTOKEN=ab\0TOKEN=abc\0LAST=1\0")
    proc = Proc(tmp_path)
    assert proc.has_variable(5, "TOKEN", "abc") and proc.has_variable(5, "LAST", "1")
    assert not proc.has_variable(5, "TOKEN", "ab")


def test_a_large_environment_is_read_to_its_end(tmp_path: Path) -> None:
    (tmp_path / "5").mkdir()
    (tmp_path / "5" / "environ").write_bytes(b"A=" + b"x" * 300_000 + b"\0LAST=1\0")
    assert Proc(tmp_path).has_variable(5, "LAST", "1")


def test_this_process_is_told_truly() -> None:
    proc, me = Proc(), os.getpid()
    stat, io, pages = proc.stat(me), proc.io(me), proc.pages(me)
    assert stat is not None and io is not None and pages is not None
    assert (stat.pid, stat.parent, stat.session) == (me, os.getppid(), os.getsid(0))
    assert stat.threads == threading.active_count() or stat.threads > 1
    assert 0 < pages.pss_kb <= pages.rss_kb
    assert io.rchar > 0
    before = proc.open_files(me)
    with open("/dev/null"):
        assert proc.open_files(me) == before + 1
    assert len(proc.boot_id()) == 36
