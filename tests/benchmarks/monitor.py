"""What looking at payloads costs, and how true it is: `bin/bench monitor [--mb N]`.

Twenty processes of N MB each stand for a payload. Costs are CPU or wall time of the code that the pilot runs; psutil
and a bare spawn stand beside them. Takes about half a minute.
"""

from __future__ import annotations

import argparse
import contextlib
import resource
import secrets
import select
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from pilot.core.job import JobDefinition
from pilot.core.limits import Limits
from pilot.engine.monitor import Monitor, Sampled
from pilot.engine.monitor_tree import Budget, Family
from pilot.lib import process
from pilot.lib.cgroup_ground import Ground
from pilot.lib.procfs import Proc

Row = tuple[str, float, float, float | None]
_NOTHING = float("nan")

TREE = """
import os, time
def hold(mb):
    kept = bytearray(os.urandom(4096)) * (mb * 256)
    open(f'ready{os.getpid()}', 'w').close()
    time.sleep(600)
for n in range(19):
    if os.fork() == 0: hold(MB)
hold(MB)
"""
PEAK = """
import os, time
for n in range(4):
    if os.fork() == 0:
        kept = bytearray(os.urandom(4096)) * (150 * 256)
        time.sleep(2); os._exit(0)
for n in range(4): os.wait()
"""
BURN = """
import os, time
def burn(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end: pass
for n in range(20):
    if os.fork() == 0:
        burn(0.05); os._exit(0)
    os.wait()
burn(0.5)
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bin/bench monitor")
    parser.add_argument("--mb", type=int, default=100, help="memory of each of the 20 processes")
    mb = parser.parse_args().mb
    process.become_subreaper()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows += [*_looks(folder, mb), *_many_jobs(folder), *_spawns(folder), *_truth(folder)]
    print(f"{'what':<64}{'here':>10}{'beside':>10}{'ratio':>8}   limit")
    for what, here, beside, limit in rows:
        ratio = f"{here / beside:8.3f}" if beside == beside else " " * 8
        other = f"{beside:10.3f}" if beside == beside else " " * 10
        print(f"{what:<64}{here:>10.3f}{other}{ratio}   {'' if limit is None else limit}")


@contextlib.contextmanager
def payload(folder: Path, code: str, *, ready: int = 0, ground: Ground | None = None) -> Iterator[process.Child]:
    """A Python payload in a directory of its own; ends with the block."""
    directory = Path(tempfile.mkdtemp(dir=folder))
    group = ground.make(secrets.token_hex(4)) if ground else None
    argv = [sys.executable, "-S", "-E", "-c", code]
    child = process.spawn(argv, cwd=directory, env={}, stdout=1, stderr=2, token=secrets.token_hex(8), cgroup=group)
    try:
        while len(list(directory.glob("ready*"))) < ready:
            select.select([child.pidfd], [], [], 0.05)
        yield child
    finally:
        child.kill()
        select.select([child.pidfd], [], [], 10)
        child.poll()
        child.close()
        process.reap_strays({child.sid: child.start_ticks}, {})


def median_ms(work: Callable[[], object], times: int) -> float:
    """The median wall time of some work."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken) * 1000


def _looks(folder: Path, mb: int) -> list[Row]:
    ground = Ground.prepare()
    rows: list[Row] = []
    with payload(folder, TREE.replace("MB", str(mb)), ready=20, ground=ground) as child:
        family = Family(child, Proc(), Budget(share=0.0, burst_s=0.0))
        family.look([])
        root = psutil.Process(child.pid)
        beside = median_ms(lambda: _psutil(root), 20)
        rows.append(
            (
                "CPU, RSS, I/O of 20 processes from /proc (ms; psutil with PSS)",
                median_ms(lambda: family.look([]), 100),
                beside,
                1.2,
            )
        )
        if child.cgroup is not None:
            rows.append(
                ("the same from their cgroup (ms; psutil with PSS)", median_ms(child.cgroup.read, 200), beside, 0.15)
            )
        rows += _whole_monitor(child, folder, mb)
    if ground:
        ground.restore()
    return rows


def _psutil(root: psutil.Process) -> None:
    for one in [root, *root.children(recursive=True)]:
        one.memory_full_info()
        one.cpu_times()
        one.io_counters()


def _thread_s(monitor: Monitor) -> float:
    """CPU time of the monitor's two threads so far."""
    threads = [monitor._thread, monitor._surveyor._thread]
    texts = [Path(f"/proc/self/task/{thread.native_id}/schedstat").read_text() for thread in threads if thread]
    return sum(int(text.split()[0]) for text in texts) / 1e9


def _whole_monitor(child: process.Child, folder: Path, mb: int) -> list[Row]:
    """The running monitor at one look a second, and its PSS against a walk of everything."""
    samples: list[object] = []
    monitor = Monitor(samples.append, interval_s=1.0)
    monitor.start()
    monitor.watch("1.1", child, folder, Limits(memory_mb=10**6, workdir_mb=10**6, disk_free_mb=1))
    select.select([child.pidfd], [], [], 3)
    before_s, began = _thread_s(monitor), time.monotonic()
    select.select([child.pidfd], [], [], 6)
    share = (_thread_s(monitor) - before_s) / (time.monotonic() - began)
    latest = monitor.latest("1.1")
    truth_kb = sum(pages.pss_kb for pid in child.members() if (pages := Proc().pages(pid)))
    monitor.close()
    off = abs(latest.pss_kb / truth_kb - 1) * 100 if latest else 100.0
    return [
        (f"the whole monitor on 20 processes of {mb} MB (% of a core)", share * 100, _NOTHING, 0.5),
        ("its PSS against a full walk (% off)", off, _NOTHING, 2.0),
    ]


def _many_jobs(folder: Path) -> list[Row]:
    """A hundred payloads, one look in five seconds."""
    children = []
    for _ in range(100):
        children.append(
            process.spawn(["/bin/sleep", "60"], cwd=folder, env={}, stdout=1, stderr=2, token=secrets.token_hex(8))
        )
    monitor = Monitor(lambda message: None, interval_s=5.0)
    monitor.start()
    for n, child in enumerate(children):
        directory = folder / f"job{n}"
        directory.mkdir()
        monitor.watch(f"{n}.1", child, directory, Limits(workdir_mb=1000))
    select.select([], [], [], 2)
    before_s, began = _thread_s(monitor), time.monotonic()
    select.select([], [], [], 10)
    share = (_thread_s(monitor) - before_s) / (time.monotonic() - began)
    threads = sum(1 for _ in Path("/proc/self/task").iterdir())
    for n, child in enumerate(children):
        child.kill()
        select.select([child.pidfd], [], [], 5)
        child.poll()
        monitor.unwatch(f"{n}.1")
        child.close()
    monitor.close()
    return [
        ("100 jobs, one sample in 5 s (% of a core)", share * 100, _NOTHING, 2.0),
        ("threads of the process with 100 jobs watched", threads, _NOTHING, None),
    ]


def _spawns(folder: Path) -> list[Row]:
    """A payload that does nothing: bare, and watched with its files and a row in the PilotDB."""
    from pilot.core.job import OutputFile
    from pilot.core.lifecycle import Job, Phase
    from pilot.db.store import Facts, Store

    store = Store(folder / "pilot.db")
    definition = JobDefinition(job_id=1, log=OutputFile(lfn="log"))
    job = Job(definition.key, Phase.RUNNING)
    store.add_job(definition, job, Facts(), str(folder), 0)
    messages: list[Sampled] = []
    monitor = Monitor(lambda m: messages.append(m) if isinstance(m, Sampled) else None)
    monitor.start()

    def bare() -> None:
        subprocess.run(["/bin/true"], cwd=folder, env={}, check=True)

    def watched() -> None:
        directory = Path(tempfile.mkdtemp(dir=folder))
        child = process.spawn(["/bin/true"], cwd=directory, env={}, stdout=1, stderr=2, token="t")
        monitor.watch(definition.key, child, directory, Limits(workdir_mb=1000))
        select.select([child.pidfd], [], [], 5)
        child.poll()
        monitor.unwatch(definition.key)
        with store.transaction():
            store.save(job, Facts(), "ended")
            for message in messages:
                store.add_sample(definition.key, message.sample)
        messages.clear()
        child.close()

    watched()
    bare_ms, watched_ms = median_ms(bare, 40), median_ms(watched, 40)
    monitor.close()
    store.close()
    return [("a watched payload with record and row, over a bare spawn (ms)", watched_ms - bare_ms, _NOTHING, 5.0)]


def _truth(folder: Path) -> list[Row]:
    """Memory and CPU time against what is known of the payload."""
    monitor = Monitor(lambda message: None)
    monitor.start()
    usages = []
    for key, code in (("peak", PEAK), ("burn", BURN)):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        with payload(folder, code) as child:
            monitor.watch(key, child, folder, Limits())
            select.select([child.pidfd], [], [], 20)
            child.poll()
            usages.append(monitor.unwatch(key))
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    monitor.close()
    kernel_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    peak_mb = usages[0].max_pss_kb / 1024
    return [
        ("peak of four children holding 150 MB each (MB; known)", peak_mb, 600.0, 618),
        ("CPU time with 20 short-lived children (s; the kernel's)", usages[1].cpu_s, kernel_s, None),
        ("its deviation (%)", abs(usages[1].cpu_s / kernel_s - 1) * 100, _NOTHING, 2.0),
    ]


if __name__ == "__main__":
    main()
