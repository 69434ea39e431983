"""`pilot run --scratch`: the work directory is found on the node, and nobody finds anything of it afterwards."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pilot.lib import claims
from pilot.lib.program import own_command, own_environment
from tests.pilots import QUICK, Site, patience
from tests.small_disk import small_disk


class Node:
    """A scratch directory of a node, with a blank in its name, and pilots that start elsewhere."""

    def __init__(self, site: Site, folder: Path) -> None:
        self.site = site
        self.scratch, self.start = folder / "node scratch", folder / "start"
        self.scratch.mkdir()
        self.start.mkdir()
        self.pilots: list[subprocess.Popen[bytes]] = []

    def pilot(self, *options: str, order: str = "NOWHERE SCRATCH", **more: str) -> subprocess.Popen[bytes]:
        """Start one."""
        line = own_command("run", "--url", self.site.url, "--queue", self.site.queue, "--scratch", order, *QUICK)
        line += ["--scratch-need", "1M", "--output-dir", str(self.site.outputs), *options]
        env = own_environment() | {"SCRATCH": str(self.scratch)} | more
        self.log = self.start / f"log-{len(self.pilots)}"
        with self.log.open("wb") as log:
            process = subprocess.Popen(line, cwd=self.start, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.pilots.append(process)
        return process

    def left(self) -> list[str]:
        """What is in the scratch, but for the file by which pilots take turns."""
        return sorted(name for name in os.listdir(self.scratch) if not name.startswith("."))


@pytest.fixture
def node(site: Site, tmp_path: Path) -> Iterator[Node]:
    made = Node(site, tmp_path)
    yield made
    for process in made.pilots:
        if process.poll() is None:
            process.kill()
        process.wait()


def test_the_directory_is_made_where_it_fits_and_removed(node: Node) -> None:
    number = node.site.shell("pwd > where.txt", outputs=("where.txt",))
    assert node.pilot("--jobs", "1").wait(60) == 0, node.log.read_text()
    where = Path((node.site.outputs / "where.txt").read_text().strip())
    assert where.parent.parent == node.scratch and where.name == f"job-{number}.1"
    assert node.left() == []
    assert (node.start / "pandaIDs.out").read_text() == f"{number}\n"
    assert node.site.told(number)["final_reports"] == 1
    assert sorted(os.listdir(node.start)) == ["log-0", "pandaIDs.out"], "where it was started, nothing else is left"


def test_outputs_without_a_storage_are_not_removed_with_it(node: Node) -> None:
    node.site.shell("echo kept > o.txt", outputs=("o.txt",))
    assert node.pilot("--jobs", "1", "--output-dir", "").wait(60) == 0, node.log.read_text()
    (kept,) = (node.start / "storage").rglob("o.txt")
    assert kept.read_text() == "kept\n" and node.left() == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_nothing_is_left_after_a_signal(node: Node, number: int) -> None:
    job = node.site.shell("sleep 300")
    pilot = node.pilot("--grace", "20")
    assert patience(lambda: node.site.told(job)["state"] == "running", 40.0), node.log.read_text()
    pilot.send_signal(number)
    assert pilot.wait(60) != 0
    assert node.left() == [], node.log.read_text()
    assert node.site.told(job)["final_reports"] == 1


def test_the_next_pilot_of_the_queue_finishes_what_a_killed_one_left_and_then_removes_it(node: Node) -> None:
    job = node.site.shell("[ -e ../again ] && echo done > o.txt && exit; touch ../again; sleep 300", outputs=("o.txt",))
    pilot = node.pilot("--jobs", "1")
    assert patience(lambda: list(node.scratch.glob("pilot.*/again")), 40.0), node.log.read_text()
    pilot.kill()
    pilot.wait()
    (left, claim) = node.left()
    assert claim == f"{left}.claim"
    assert node.pilot("--jobs", "1").wait(60) == 0, node.log.read_text()
    assert (node.site.outputs / "o.txt").read_text() == "done\n"
    assert node.site.told(job)["final_reports"] == 1
    assert node.left() == []


def test_others_work_is_left_to_them_and_what_is_nobody_s_is_reaped(node: Node) -> None:
    with contextlib.ExitStack() as stack:
        (node.scratch / "pilot.precious").mkdir()
        alive = claims.make(str(node.scratch), 1000)
        stack.callback(alive.remove)
        claims.make(str(node.scratch), 1000).leave()
        node.site.shell("touch ../there; sleep 300")
        pilot = node.pilot("--jobs", "1")
        assert patience(lambda: list(node.scratch.glob("pilot.*/there")), 40.0), node.log.read_text()
        pilot.kill()
        pilot.wait()
        (work,) = (path.parent.name for path in node.scratch.glob("pilot.*/there"))
        assert node.pilot("--queue", "ANOTHER").wait(60) == 0, node.log.read_text()
        mine = os.path.basename(alive.path)
        assert node.left() == sorted(["pilot.precious", mine, f"{mine}.claim", work, f"{work}.claim"])
        assert node.pilot("--jobs", "1", "--reruns", "0").wait(60) == 0, node.log.read_text()
        assert node.left() == sorted(["pilot.precious", mine, f"{mine}.claim"])


def test_space_that_others_have_claimed_is_not_taken_and_the_reasons_are_told(node: Node, tmp_path: Path) -> None:
    (tmp_path / "second").mkdir()
    taken = claims.make(str(node.scratch), 1 << 60)
    try:
        assert node.pilot(order="SCRATCH").wait(60) == 69
        told = node.log.read_text()
        assert "claimed by other pilots" in told and told.splitlines()[-1].startswith("pilot: no work directory")
        node.site.shell("pwd > where.txt", outputs=("where.txt",))
        second = str(tmp_path / "second")
        assert node.pilot("--jobs", "1", order=f"SCRATCH {second}").wait(60) == 0, node.log.read_text()
        assert (node.site.outputs / "where.txt").read_text().startswith(f"{second}/pilot.")
    finally:
        taken.remove()


def test_a_work_directory_that_is_named_is_used_and_stays(node: Node, tmp_path: Path) -> None:
    node.site.shell("true")
    assert node.pilot("--jobs", "1", "--workdir", str(tmp_path / "named")).wait(60) == 0, node.log.read_text()
    assert (tmp_path / "named" / "pilot.db").exists() and node.left() == []


@pytest.mark.parametrize("apart", [True, False], ids=["a directory for each", "one directory"])
def test_pilots_that_start_at_once_never_count_the_same_space(apart: bool, node: Node, tmp_path: Path) -> None:
    """Room for three on a disk, five pilots: as batch systems do it, each has a directory of its own there, or none."""
    with small_disk(tmp_path / "disk", 50) as disk:
        for _ in range(5):
            node.site.shell("sleep 300")
        for number in range(5):
            (disk / str(number)).mkdir(exist_ok=True)
            own = str(disk / str(number)) if apart else str(disk)
            book = str(tmp_path / "book")
            node.pilot("--jobs", "1", "--scratch-need", "15M", SCRATCH=own, PILOT_NODE_CLAIMS=book)
        assert patience(lambda: sum(pilot.poll() is not None for pilot in node.pilots) == 2, 60.0)
        assert patience(lambda: len(list(disk.rglob("payload.stdout"))) == 3, 60.0)
        assert sorted(pilot.poll() or 0 for pilot in node.pilots) == [0, 0, 0, 69, 69]
        logs = [(node.start / f"log-{number}").read_text() for number in range(5)]
        assert sum("claimed by other pilots" in log for log in logs) == 2
        for pilot in node.pilots:
            pilot.kill()
            pilot.wait()
        assert node.pilot("--queue", "ANOTHER", "--scratch-need", "40M", SCRATCH=str(disk)).wait(60) == 0, (
            "the dead need nothing"
        )
        for process in _running_below(disk):
            os.kill(process, signal.SIGKILL)


def _running_below(disk: Path) -> list[int]:
    """What the payloads of killed pilots have left running: by their directory they are this test's."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and os.readlink(entry / "cwd").startswith(str(disk)):
                found.append(int(entry.name))
    return found
