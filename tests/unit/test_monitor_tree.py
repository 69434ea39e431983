"""A payload's processes over recorded trees: who counts, and where the CPU time of the ended goes."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pilot.core.job import Exit
from pilot.engine.monitor_tree import Budget, Family
from pilot.lib.process import Spent, Stray
from pilot.lib.procfs import PAGE_KB, TICKS_PER_S, Io, Proc


class Tree:
    """A recorded /proc that can be changed between two looks. CPU times are in s."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.first: Any = SimpleNamespace(pid=10, sid=10, start_ticks=10, exit=None, spent=Spent(), cgroup=None)
        self._children: dict[int, list[int]] = {}

    def put(
        self, pid: int, parent: int, *, own: float = 0, waited: float = 0, rss_kb: int = 4000, pss: int = 0
    ) -> None:
        """Write a process, or write it anew."""
        at = self.root / str(pid)
        (at / "task" / str(pid)).mkdir(parents=True, exist_ok=True)
        ticks, child_ticks = int(own * TICKS_PER_S), int(waited * TICKS_PER_S)
        pages = rss_kb // PAGE_KB
        times = f"{ticks} 0 {child_ticks} 0"
        (at / "stat").write_text(
            f"{pid} (burner) S {parent} 10 10 0 -1 0 0 0 0 0 {times} 20 0 1 0 {pid} 1048576 {pages} 1\n"
        )
        (at / "io").write_text(f"rchar: {pid}\nwchar: 0\nsyscr: 0\nsyscw: 0\nread_bytes: 0\nwrite_bytes: 0\n")
        (at / "smaps_rollup").write_text(f"head\nRss: {rss_kb} kB\nPss: {pss or rss_kb} kB\nSwap: 0 kB\n")
        if pid not in self._children.setdefault(parent, []):
            self._children[parent].append(pid)
        self._lists()

    def drop(self, pid: int) -> None:
        """Take a process out of the tree."""
        for file in sorted((self.root / str(pid)).rglob("*"), reverse=True):
            file.rmdir() if file.is_dir() else file.unlink()
        (self.root / str(pid)).rmdir()
        for children in self._children.values():
            if pid in children:
                children.remove(pid)
        self._lists()

    def _lists(self) -> None:
        for pid, children in self._children.items():
            if (at := self.root / str(pid) / "task" / str(pid)).exists():
                (at / "children").write_text(" ".join(map(str, children)))

    def family(self, share: float = 1.0) -> Family:
        return Family(self.first, Proc(self.root), Budget(share=share, burst_s=share))


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def test_all_descendants_count_and_orphans_and_included_ones(tree: Tree) -> None:
    for pid, parent in ((10, 1), (11, 10), (12, 11), (20, 1), (30, 1), (31, 30)):
        tree.put(pid, parent, own=1.0)
    family = tree.family()
    assert family.include(30) and not family.include(99)
    sample = family.look([20])
    assert (sample.processes, sample.rss_kb, sample.user_s) == (6, 6 * 4000, 6.0)
    assert sample.rchar == 10 + 11 + 12 + 20 + 30 + 31


def test_time_of_a_child_that_was_waited_for_counts_once(tree: Tree) -> None:
    tree.put(10, 1, own=1.0)
    tree.put(11, 10, own=2.0)
    family = tree.family()
    family.look([])
    tree.drop(11)
    tree.put(10, 1, own=1.0, waited=2.5)
    assert family.look([]).user_s == 3.5


def test_time_of_a_child_that_nobody_waited_for_is_kept_as_last_seen(tree: Tree) -> None:
    tree.put(10, 1, own=1.0)
    tree.put(11, 10, own=2.0)
    family = tree.family()
    family.look([])
    tree.drop(11)
    assert family.look([]).user_s == 3.0
    assert family.look([]).user_s == 3.0


def test_a_grandchild_whose_parent_ended_with_it_is_looked_for_in_the_grandparent(tree: Tree) -> None:
    tree.put(10, 1)
    tree.put(11, 10, own=1.0)
    tree.put(12, 11, own=4.0)
    family = tree.family()
    family.look([])
    tree.drop(12)
    tree.drop(11)
    tree.put(10, 1, waited=5.0)
    assert family.look([]).user_s == 5.0


def test_an_orphan_that_was_collected_counts_with_what_it_used_in_all(tree: Tree) -> None:
    tree.put(10, 1)
    tree.put(20, 1, own=1.0)
    family = tree.family()
    family.look([20])
    tree.drop(20)
    family.collected(Stray(20, 20, 10, Spent(user_s=1.5, io=Io(rchar=100))))
    sample = family.look([])
    assert sample.user_s == 1.5 and sample.rchar == 110


def test_after_its_end_the_first_process_counts_as_the_kernel_told(tree: Tree) -> None:
    tree.put(10, 1, own=1.0)
    tree.put(11, 10, own=0.5)
    family = tree.family()
    family.look([])
    tree.drop(11)
    tree.drop(10)
    tree.first.exit, tree.first.spent = Exit(code=0), Spent(user_s=1.75)
    sample = family.look([])
    assert (sample.user_s, sample.processes) == (1.75, 0)


def test_another_process_with_the_old_number_is_a_stranger(tree: Tree) -> None:
    tree.put(10, 1, own=1.0)
    tree.first.start_ticks = 9
    assert tree.family().look([]).processes == 0


def test_io_never_goes_back(tree: Tree) -> None:
    tree.put(10, 1)
    tree.put(11, 10)
    family = tree.family()
    assert family.look([]).rchar == 21
    tree.drop(11)
    assert family.look([]).rchar == 21


def test_without_a_budget_the_pss_follows_the_rss_and_is_told_to_be_in_doubt(tree: Tree) -> None:
    tree.put(10, 1, rss_kb=4000, pss=3000)
    family = tree.family()
    assert (family.look([]).pss_kb, family.look([]).pss_settled) == (3000, True)
    family._budget = Budget(share=0.0, burst_s=0.0)
    tree.put(10, 1, rss_kb=8000, pss=5000)
    assert family.look([]).pss_kb == 7000
    tree.put(11, 10, rss_kb=8000, pss=1)
    assert not family.look([]).pss_settled
    exact = family.exact()
    assert exact is not None and exact.pss_settled and exact.pss_kb == 5001


def test_a_process_that_comes_puts_its_parents_and_siblings_pss_in_doubt(tree: Tree) -> None:
    tree.put(10, 1, pss=4000)
    tree.put(11, 10, pss=4000)
    family = tree.family()
    family.look([])
    tree.put(12, 10, pss=1000)
    for pid, parent in ((10, 1), (11, 10)):
        tree.put(pid, parent, pss=1000)
    assert family.look([]).pss_kb == 3000
