"""A running pilot has the threads that its documentation lists, whatever number of jobs it runs, and no other."""

from __future__ import annotations

import re
from pathlib import Path

import pilot.engine
from tests.bench import shell_job
from tests.pilots import Site, assert_reported_once


def documented() -> set[str]:
    """The names in the table of `pilot.engine`, numbers and `N` as a pattern."""
    rows = re.findall(r"^\| ([\w-]+) +\|", pilot.engine.__doc__ or "", re.MULTILINE)
    return {row for row in rows if row != "thread"}


def threads_of(pid: int) -> list[str]:
    return [
        (task / "comm").read_text().strip() if task.name != str(pid) else "main"
        for task in Path(f"/proc/{pid}/task").iterdir()
    ]


def rss_mb(pid: int) -> int:
    (line,) = (text for text in Path(f"/proc/{pid}/status").read_text().splitlines() if text.startswith("VmRSS"))
    return int(line.split()[1]) // 1024


def test_a_busy_pilot_has_few_threads_and_little_memory(site: Site) -> None:
    script = "touch ../busy.$PANDAID.$$; while [ ! -e ../go ]; do sleep 0.05; done"
    numbers = site.submit(*(shell_job(0, script, logFile=f"l{n}", outFiles=f"l{n}") for n in range(3)))
    running = site.start("--jobs", "3", "--slots", "2")
    site.wait_for(lambda: len(list(site.workdir.glob("busy.*"))) == 2)
    threads = threads_of(running.pid)
    assert len(threads) <= 8, threads
    assert rss_mb(running.pid) <= 60
    (site.workdir / "go").touch()
    assert running.wait(20) == 0
    for number in numbers:
        assert_reported_once(site, number, "finished")


def test_the_threads_of_a_pilot_are_those_of_the_table(tmp_path: Path) -> None:
    """Asked inside the process: the kernel does not know the names that Python gives."""
    import threading

    from pilot.plugins.sources.dummy import DummySource
    from tests.bench import Bench

    bench = Bench(tmp_path, DummySource([shell_job(n, "sleep 0.5") for n in (1, 2)]))
    before = set(threading.enumerate())
    seen: list[str] = []
    bench.at(0.3, lambda: seen.extend(t.name for t in set(threading.enumerate()) - before))
    assert bench.run(slots="2") == 0
    assert seen and len(seen) + 1 <= 8
    known = {name.replace("-N", r"-\d+") for name in documented()}
    assert not [name for name in seen if not any(re.fullmatch(pattern, name) for pattern in known)], (seen, known)
    for needed in ("monitor", "acquire-0", "report-0", "staging-0"):
        assert needed in seen
