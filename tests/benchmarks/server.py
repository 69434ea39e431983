"""How much the embedded job server takes: `bin/bench server [--seconds S] [--connections N]`.

Server and load generator share the machine. Every answer that is counted came after the commit. The generator speaks
HTTP by hand over kept connections, one request at a time on each, so that the server and not a client library is
measured. Beside the figures stands the bare cost of the same commits: one sqlite transaction for each update.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sqlite3
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import quantiles
from typing import Any

from pilot.server.launch import running_server


class Line:
    """One kept connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def post(self, path: str, document: object) -> Any:
        body = json.dumps(document).encode()
        head = (
            f"POST {path} HTTP/1.1\r\nHost: x\r\nAccept: application/json\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        self._writer.write(head.encode() + body)
        answer = await self._reader.readuntil(b"\r\n\r\n")
        length = int(answer.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        return json.loads(await self._reader.readexactly(length))

    def close(self) -> None:
        self._writer.close()


async def connected(url: str, number: int) -> list[Line]:
    host, _, port = url.removeprefix("http://").partition(":")
    return [Line(*await asyncio.open_connection(host, int(port))) for _ in range(number)]


async def hammer(lines: list[Line], seconds: float, ask: Callable[[int], tuple[str, object]]) -> list[float]:
    """Keeps every connection busy for that time; returns the seconds each answer took."""
    end = time.perf_counter() + seconds
    took: list[float] = []

    async def one(line: Line, number: int) -> None:
        while (start := time.perf_counter()) < end:
            answer = await line.post(*ask(number))
            assert answer["success"], answer
            took.append(time.perf_counter() - start)

    await asyncio.gather(*(one(line, number) for number, line in enumerate(lines)))
    return took


def heartbeat(pandaid: int) -> dict[str, Any]:
    return {
        "job_id": pandaid, "job_status": "running", "attempt_nr": 1, "site_name": "SITE", "node": "node1",
        "max_rss": 512000, "max_pss": 400000, "avg_rss": 300000, "cpu_consumption_time": 120, "core_count": 1,
        "job_metrics": "nEvents=10 leak=0.12 chi2=1.25", "tot_rchar": 10485760, "tot_wchar": 5242880,
    }  # fmt: skip


def printed(name: str, count: int, seconds: float, took: list[float]) -> None:
    cuts = quantiles(took, n=100)
    print(f"{name:34} {count / seconds:10.0f} /s   median {cuts[49] * 1e3:6.2f} ms   99 % {cuts[98] * 1e3:6.2f} ms")


async def measured(url: str, seconds: float, connections: int) -> None:
    lines = await connected(url, connections)
    jobs = [{"transformation": "x", "outFiles": "out"} for _ in range(connections)]
    await lines[0].post("/submit", jobs)
    asked = {"site_name": "SITE", "n_jobs": connections}
    acquired = (await lines[0].post("/api/v1/pilot/acquire_jobs", asked))["data"]["jobs"]
    ids = [job["PandaID"] for job in acquired]
    took = await hammer(lines, seconds, lambda n: ("/api/v1/pilot/update_job", heartbeat(ids[n])))
    printed(f"update_job, {connections} connections", len(took), seconds, took)
    took = await hammer(lines[:1], seconds / 2, lambda n: ("/api/v1/pilot/update_job", heartbeat(ids[0])))
    printed("update_job, 1 connection", len(took), seconds / 2, took)
    bulk = {"job_list": [heartbeat(number) for number in ids]}
    took = await hammer(lines[:2], seconds / 2, lambda n: ("/api/v1/pilot/update_jobs_bulk", bulk))
    printed(f"update_jobs_bulk of {connections}, 2 conn.", len(took) * connections, seconds / 2, took)
    await ranges(lines[0])
    for line in lines:
        line.close()


async def ranges(line: Line, number: int = 20_000) -> None:
    spec = {"transformation": "x", "inFiles": "in", "eventService": "True", "nEvents": 10**6, "nEventsPerRange": 1}
    await line.post("/submit", spec)
    (job,) = (await line.post("/api/v1/pilot/acquire_jobs", {"site_name": "SITE"}))["data"]["jobs"]
    ids = {"job_id": job["PandaID"], "jobset_id": job["jobsetID"], "task_id": job["taskID"]}
    start = time.perf_counter()
    given = (await line.post("/api/v1/event/acquire_event_ranges", {**ids, "n_ranges": number}))["data"]
    handed = time.perf_counter()
    told = json.dumps([{"eventRangeID": one["eventRangeID"], "eventStatus": "finished"} for one in given])
    prepared = time.perf_counter()
    await line.post("/api/v1/event/update_event_ranges", {"event_ranges": told})
    print(f"{'event ranges handed out':34} {number / (handed - start):10.0f} /s")
    print(f"{'event ranges updated in bulk':34} {number / (time.perf_counter() - prepared):10.0f} /s")


def bare(folder: Path, number: int = 5000) -> None:
    db = sqlite3.connect(folder / "bare.db", isolation_level=None)
    db.executescript(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; CREATE TABLE job (id INTEGER, facts TEXT)"
    )
    db.execute("INSERT INTO job VALUES (1, '')")
    text = json.dumps(heartbeat(1))
    start = time.perf_counter()
    for _ in range(number):
        db.execute("UPDATE job SET facts = ? WHERE id = 1", (text,))
    print(f"{'bare sqlite, one commit an update':34} {number / (time.perf_counter() - start):10.0f} /s")
    db.close()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--durable", action="store_true", help="measure `pilot serve --durable`")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        flags = ["--durable"] if options.durable else []
        with running_server(folder / "jobs.db", options=flags, log=folder / "log") as server:
            asyncio.run(measured(server.url, options.seconds, options.connections))
            status = Path(f"/proc/{server.process.pid}/status").read_text()
            print(f"{'server RSS at most':34} {int(status.split('VmHWM:')[1].split()[0]) / 1024:10.0f} MB")
        bare(folder)


if __name__ == "__main__":
    main()
