"""What event ranges cost: handed out and accounted with the PilotDB on disk, workers kept busy, memory of a million.

Real worker processes over the real channel; the server is in memory, and as slow as said. Prints one line a figure
with what it should reach.
"""

from __future__ import annotations

import os
import resource
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from pilot.core.job import JobDefinition
from pilot.core.ranges import EventRange
from pilot.core.rangestate import Said
from pilot.core.staging import StagingSettings
from pilot.core.storage import StagingSite
from pilot.db.store import Store
from pilot.engine.eventservice.service import EventService, Order
from pilot.plugins.copytools.registry import ALIASES, by_scheme, registry
from pilot.plugins.sources.dummy_events import DummyEvents
from pilot.runtime.ledger import Ledger
from pilot.staging.toolbox import Toolbox
from pilot.staging.transfer import Transferer

EVENT_S = 0.02
START_S = 2.5
"""Until the first ranges have come back nobody knows how long one takes, and how many to ask for: a slow server costs
the workers one answer's time there."""


def main() -> int:
    """Print all figures."""
    if sys.argv[1:] == ["ledger"]:
        print(*ledger_cost(1_000_000))
        return 0
    print(f"{'figure':<58}{'measured':>14}{'wanted':>14}")
    rate = throughput(workers=4, ranges=60_000)
    row("ranges a second, 4 processes, PilotDB on disk", f"{rate:,.0f}", ">= 10,000")
    for delay_s in (0.0, 1.0):
        busy = busy_share(workers=64, ranges=32_000, delay_s=delay_s)
        row(f"64 workers of 20 ms events busy, server answers in {delay_s:g} s", f"{100 * busy:.1f} %", ">= 97 %")
    print(f"    (both after the first {START_S} s)")
    costs = {count: min(ledger_cost(count)[0] for _ in range(3)) for count in (1_000, 10_000, 100_000)}
    costs[1_000_000], million = in_a_process_of_its_own()
    for count, cost in costs.items():
        row(f"the ledger's cost of a range among {count:,}", f"{1e6 * cost:.2f} us", "constant")
    row("memory of one million ranges in one job", f"{million} MB", "< 400 MB")
    return 0


def row(what: str, measured: str, wanted: str) -> None:
    print(f"{what:<58}{measured:>14}{wanted:>14}", flush=True)


def throughput(workers: int, ranges: int) -> float:
    """Ranges a second from the first request to the end, everything told."""
    spans = run(workers, ranges, 0.0, 0.0)
    begin, end = min(s[0] for s in spans), max(s[1] for s in spans)
    return sum(s[3] for s in spans) / (end - begin)


def busy_share(workers: int, ranges: int, delay_s: float) -> float:
    """The share of their time that workers spend on events, from `START_S` after their start on."""
    spans = run(workers, ranges, EVENT_S, delay_s)
    return sum(s[2] for s in spans) / sum(s[1] - s[0] for s in spans)


def run(workers: int, ranges: int, event_s: float, delay_s: float) -> list[tuple[float, ...]]:
    """For each worker: its first range's begin and its last one's end, s spent on events, number of ranges."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "job").mkdir()
        Store(folder / "pilot.db").close()
        source = DummyEvents(events=ranges, per_range=1, lfn="in.root")
        source.delay_s = delay_s
        transferer = Transferer(StagingSettings(), Toolbox(registry(), by_scheme(), ALIASES))
        nobody: Any = lambda *what: None  # noqa: E731
        service = EventService(source, transferer, str(folder / "pilot.db"), lambda call: call(), nobody, nobody)
        site = StagingSite(output_dir=str(folder))
        order = Order(JobDefinition(1, task_id=9), str(folder / "job"), site, workers=workers)
        opened = wait_for(lambda then: service.open(order, then))
        pipes = [worker(opened.variables["PILOT_EVENTS"], event_s) for _ in range(workers)]
        spans = [tuple(map(float, read_all(pipe).split())) for pipe in pipes]
        for _ in pipes:
            os.wait()
        wait_for(lambda then: service.finish(order, then))
        service.close()
        assert len(source.finished) == ranges, f"{len(source.finished)} of {ranges} ranges were told"
        return [span for span in spans if span[3]]


def worker(endpoint: str, event_s: float) -> int:
    """A forked worker: what it measured comes out of the pipe."""
    read, write = os.pipe()
    if os.fork():
        os.close(write)
        return read
    os.close(read)
    from pilot.events import ranges

    first = last = spent = 0.0
    count = 0
    started = time.monotonic()
    for item in ranges(endpoint):
        now = time.monotonic()
        first = first or now
        if event_s:
            time.sleep(event_s)
        worked = time.monotonic()
        item.done()
        last = time.monotonic()
        count += 1
        if event_s and now < started + START_S:
            first = last  # the start does not count
        else:
            spent += worked - now
    os.write(write, f"{first} {last} {spent} {count}".encode())
    os._exit(0)


def read_all(pipe: int) -> str:
    with os.fdopen(pipe) as file:
        return file.read()


def wait_for(call: Any) -> Any:
    done, answer = threading.Event(), []

    def then(result: Any, error: Any) -> None:
        answer.append((result, error))
        done.set()

    call(then)
    assert done.wait(120), "the event service did not answer"
    result, error = answer[0]
    if error is not None:
        raise error
    return result


def ledger_cost(count: int) -> tuple[float, int]:
    """Seconds a range from grant to told, and the process's largest memory in MB."""
    ledger = Ledger()
    begin = time.perf_counter()
    for first in range(0, count, 1000):
        numbers = range(first, min(first + 1000, count))
        ledger.grant(
            EventRange(f"4000001-7000001-{900000 + n // 1000}-{n % 1000}-1", f"f{n // 1000}", n, n, "G", "s")
            for n in numbers
        )
        for _ in range(0, len(numbers), 10):
            for n in ledger.hand(1, 10):
                ledger.done(1, n, Said(f"/out/{n}", 1.0, 2.0))
        ledger.pack(numbers, first // 1000)
        ledger.store(numbers)
        ledger.told(numbers)
        ledger.unwritten()
    spent = time.perf_counter() - begin
    return spent / count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def in_a_process_of_its_own() -> tuple[float, int]:
    import subprocess

    told = subprocess.run([sys.executable, "-m", "tests.benchmarks.events", "ledger"], capture_output=True, check=True)
    cost, memory_mb = told.stdout.split()
    return float(cost), int(memory_mb)


if __name__ == "__main__":
    sys.exit(main())
