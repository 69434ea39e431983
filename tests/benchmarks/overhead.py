"""What the pilot costs beside the payload: `bin/bench overhead [--jobs N]`.

Jobs with one 4 KiB input, one output and a log archive go through a real server over HTTP, one after another, in one
pilot. Printed are medians of the time that the server sees between giving a job and hearing its end, less the bare
cost of the same payload, and what the pilot itself needs.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

import psutil

from pilot.lib.program import own_command, own_environment
from pilot.server.launch import running_server

_LINE = "cp in.dat out.dat"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bin/bench overhead")
    parser.add_argument("--jobs", type=int, default=40)
    jobs = parser.parse_args().jobs
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bare_ms = _bare(folder) * 1000
        with running_server(folder / "server.db", log=folder / "server.log") as server:
            beside_ms, first_s, end_s = _one_after_another(server.url, folder, jobs)
            rss_mb, threads, cpu = _busy(server.url, folder)
    rows = [
        ("bare spawn of the payload (ms)", bare_ms, ""),
        ("time beside the payload, median (ms)", beside_ms - bare_ms, "150, aim 50"),
        ("process start to first job request (s)", first_s, "0.4"),
        ("end of last job to end of process (s)", end_s, "0.5"),
        ("RSS with two slots busy (MB)", rss_mb, "60"),
        ("threads with two slots busy", threads, "8"),
        ("CPU while two payloads run, 1 sample/s (% of a core)", cpu, "0.5 each"),
    ]
    print(f"{'what':<56}{'here':>10}   limit")
    for what, value, limit in rows:
        print(f"{what:<56}{value:>10.2f}   {limit}")


def _bare(folder: Path) -> float:
    """The payload without a pilot: the median of a shell that copies 4 KiB."""
    (folder / "in.dat").write_bytes(b"x" * 4096)
    times = []
    for _ in range(20):
        began = time.perf_counter()
        subprocess.run(["/bin/bash", "-c", f"exec {_LINE}"], cwd=folder, check=True)
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def _one_after_another(url: str, folder: Path, jobs: int) -> tuple[float, float, float]:
    _submit(url, [_job(folder, 5000 + n, _LINE) for n in range(jobs)])
    started = time.time()
    line = own_command("run", "--url", url, "--queue", "bench", "--jobs", str(jobs), "--workdir", str(folder / "a"))
    with (folder / "a.log").open("wb") as log:
        subprocess.run(line, env=own_environment(), stderr=log, check=True)
    ended = time.time()
    told = [_get(f"{url}/jobs/{5000 + n}") for n in range(jobs)]
    bad = [job["job_id"] for job in told if job["state"] != "finished"]
    if bad:
        raise SystemExit(f"jobs {bad} did not finish: {(folder / 'a.log').read_text()[-2000:]}")
    spans = [(job["ended"] - job["sent"]) * 1000 for job in told]
    return statistics.median(spans), min(j["sent"] for j in told) - started, ended - max(j["ended"] for j in told)


def _busy(url: str, folder: Path) -> tuple[float, int, float]:
    """What the pilot needs itself while two payloads run."""
    _submit(url, [_job(folder, 9000 + n, "sleep 12; cp in.dat out.dat") for n in range(2)])
    line = own_command("run", "--url", url, "--queue", "bench", "--jobs", "2", "--slots", "2")
    with (folder / "b.log").open("wb") as log:
        process = psutil.Popen([*line, "--workdir", str(folder / "b")], env=own_environment(), stderr=log)
        time.sleep(3)
        before = process.cpu_times()
        time.sleep(7)
        after = process.cpu_times()
        rss_mb, threads = process.memory_info().rss / 1e6, process.num_threads()
        process.wait()
    spent = (after.user + after.system) - (before.user + before.system)
    return rss_mb, threads, spent / 7 * 100


def _job(folder: Path, number: int, line: str) -> dict[str, Any]:
    source = folder / "in.dat"
    return {
        "PandaID": number,
        "attemptNr": 1,
        "jobName": f"bench.{number}",
        "transformation": "/bin/sh",
        "jobPars": f"-c '{line}'",
        "inFiles": "in.dat",
        "scopeIn": "bench",
        "fsize": str(source.stat().st_size),
        "inFilePaths": str(source),
        "outFiles": f"out.dat,bench.{number}.log.tgz",
        "scopeOut": "bench",
        "scopeLog": "bench",
        "logFile": f"bench.{number}.log.tgz",
    }


def _submit(url: str, jobs: list[dict[str, Any]]) -> None:
    request = urllib.request.Request(f"{url}/submit", json.dumps(jobs).encode(), {"Content-Type": "application/json"})
    urllib.request.urlopen(request, timeout=60).read()


def _get(url: str) -> dict[str, Any]:
    found: dict[str, Any] = json.load(urllib.request.urlopen(url, timeout=60))
    return found


if __name__ == "__main__":
    main()
