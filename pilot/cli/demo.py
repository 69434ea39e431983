"""`pilot demo`: a server, three jobs with inputs, one pilot with two slots, and a report of what came of it."""

from __future__ import annotations

import math
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click

from pilot.cli.place import print_json
from pilot.cli.tables import seconds, size, table
from pilot.lib.files import local_path
from pilot.lib.program import own_command, own_environment

_JOBS = Path(__file__).parent / "demo_jobs"
_FIRST = 1001
#: PandaID -> (state, payload exit code, pilot error) that the job should end with
_EXPECTED = {_FIRST: ("finished", 0, 0), _FIRST + 1: ("finished", 0, 0), _FIRST + 2: ("failed", 3, 1305)}


@click.command(name="demo")
@click.option("--workdir", type=click.Path(path_type=Path), help="where everything is put  [a new folder in $TMPDIR]")
@click.option("--json", "as_json", is_flag=True, help="one JSON document on stdout")
def command(workdir: Path | None, as_json: bool) -> int:
    """See real jobs run, from the job server to the report.

    Starts the embedded server on a free loopback port, submits three jobs (a di-muon analysis, one with two inputs and
    two outputs, and one that is meant to fail), and runs one pilot with two slots on them. Exit code 0 if every job
    ended as it should have.
    """
    from pilot.server.launch import running_server

    began = time.monotonic()
    folder = (workdir or Path(tempfile.mkdtemp(prefix="pilot-demo-"))).absolute()
    for name in ("inputs", "outputs", "pilot"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    jobs = make_jobs(folder / "inputs")
    with running_server(folder / "server.db", log=folder / "server.log") as server:
        _submit(server.url, jobs)
        code = _run_pilot(server.url, folder, len(jobs), show=not as_json and sys.stderr.isatty())
        told = {job["PandaID"]: _told(server.url, job["PandaID"]) for job in jobs}
    report: dict[str, Any] = {
        "jobs": [_summary(folder, number, told[number]) for number in told],
        "workdir": str(folder),
        "db": str(folder / "pilot" / "pilot.db"),
        "outputs": str(folder / "outputs"),
        "seconds": round(time.monotonic() - began, 2),
    }
    report["ok"] = code == 0 and all(job["as_expected"] for job in report["jobs"])
    if as_json:
        print_json(report)
    else:
        click.echo(_text(report))
    return 0 if report["ok"] else 1


def make_jobs(inputs: Path) -> list[dict[str, Any]]:
    """The three job descriptions, and their input files in `inputs`."""
    dice = random.Random(91)
    events = "\n".join(",".join(f"{value:.6f}" for value in _dimuon(dice)) for _ in range(5000)) + "\n"
    (inputs / "muons.csv").write_text(events)
    (inputs / "weights.csv").write_text("".join(f"run{n},{n * 0.5}\n" for n in range(400)))
    (inputs / "yields.csv").write_text("".join(f"run{n},{dice.randint(1, 9)}\n" for n in range(200, 600)))
    (inputs / "constants.json").write_text('{"electron_scale": 1.002}\n')
    for name in ("dimuon.py", "join.py", "calibrate.py"):
        (inputs / name).write_text((_JOBS / name).read_text())
    return [
        _job(inputs, _FIRST, "di-muon mass", ["dimuon.py", "muons.csv"], ["mass.json"]),
        _job(
            inputs, _FIRST + 1, "join two tables", ["join.py", "weights.csv", "yields.csv"], ["joined.csv", "sum.json"]
        ),
        _job(inputs, _FIRST + 2, "meant to fail", ["calibrate.py", "constants.json"], []),
    ]


def _dimuon(dice: random.Random) -> list[float]:
    """Two muons of a Z boson: energy and momentum of each in GeV."""
    mass = 91.19 + 1.25 * math.tan(math.pi * (dice.random() - 0.5)) * 0.98
    mass = min(max(mass, 61.0), 119.0)
    energy, cos, phi = mass / 2, dice.uniform(-1, 1), dice.uniform(0, 2 * math.pi)
    sin = math.sqrt(1 - cos * cos)
    px, py, pz = energy * sin * math.cos(phi), energy * sin * math.sin(phi), energy * cos
    boost = dice.gauss(0, 0.4)
    gamma, beta_gamma = math.cosh(boost), math.sinh(boost)
    muons: list[float] = []
    for sign in (1, -1):
        muons += [
            gamma * energy + sign * beta_gamma * pz,
            sign * px,
            sign * py,
            sign * gamma * pz + beta_gamma * energy,
        ]
    return muons


def _job(inputs: Path, number: int, name: str, files: list[str], outputs: list[str]) -> dict[str, Any]:
    from pilot.lib.checksum import checksum_of

    log = f"demo.{number}.log.tgz"
    paths = [inputs / file for file in files]
    return {
        "PandaID": number,
        "attemptNr": 1,
        "jobName": name,
        "prodSourceLabel": "managed",
        "transformation": "python3",
        "jobPars": " ".join([files[0], *files[1:], *outputs]),
        "inFiles": ",".join(files),
        "scopeIn": ",".join(["demo"] * len(files)),
        "fsize": ",".join(str(path.stat().st_size) for path in paths),
        "checksum": ",".join("ad:" + checksum_of(str(path), ("adler32",)).values()["adler32"] for path in paths),
        "inFilePaths": ",".join(str(path) for path in paths),
        "outFiles": ",".join([*outputs, log]),
        "scopeOut": ",".join(["demo"] * len(outputs)),
        "scopeLog": "demo",
        "logFile": log,
        "coreCount": 1,
    }


def _submit(url: str, jobs: list[dict[str, Any]]) -> None:
    import requests

    answer = requests.post(f"{url}/submit", json=jobs, timeout=30)
    if answer.status_code != 200:
        raise click.ClickException(f"the server refused the jobs: {answer.text[:300]}")


def _told(url: str, number: int) -> dict[str, Any]:
    import requests

    found: dict[str, Any] = requests.get(f"{url}/jobs/{number}", timeout=30).json()
    return found


def _run_pilot(url: str, folder: Path, jobs: int, *, show: bool) -> int:
    line = own_command("run", "--url", url, "--queue", "demo", "--jobs", str(jobs), "--slots", "2", "--cleanup", "none")
    line += ["--workdir", str(folder / "pilot"), "--output-dir", str(folder / "outputs")]
    with (folder / "pilot" / "pilot.out").open("wb") as log:
        process = subprocess.Popen(line, env=own_environment(), stderr=log, stdout=log, stdin=subprocess.DEVNULL)
        try:
            return _progress(process, folder, jobs) if show else process.wait(120)
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait(60)


def _progress(process: subprocess.Popen[bytes], folder: Path, jobs: int) -> int:
    """Show where each job is while the pilot runs."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    from pilot.insight.read import Reader

    def look() -> Text:
        path = folder / "pilot" / "pilot.db"
        lines = []
        if path.is_file() and path.stat().st_size:
            reader = Reader(path)
            lines = [f"  {j['job_id']}  {j['name']:<18} {j['outcome'] or j['phase']}" for j in reader.jobs()]
            reader.close()
        return Text("\n".join([f"{len(lines)} of {jobs} jobs acquired", *lines]))

    with Live(look(), console=Console(stderr=True), refresh_per_second=10, transient=True) as live:
        while True:
            try:
                return process.wait(0.1)
            except subprocess.TimeoutExpired:
                live.update(look())


def _summary(folder: Path, number: int, told: dict[str, Any]) -> dict[str, Any]:
    from pilot.insight.read import Reader

    reader = Reader(folder / "pilot" / "pilot.db")
    try:
        key = (reader.find(str(number)) or [""])[-1]
        job = reader.job(key) if key else {}
    finally:
        reader.close()
    outputs = [
        {"lfn": f["lfn"], "path": local_path(f["target"]), "size": f["size"], "checksums": f["checksums"]}
        for f in job.get("files", [])
        if f["direction"] == "out" and f["state"] == "transferred"
    ]
    error_code = job.get("error_code") or 0
    ended = (told.get("state"), job.get("exit_code"), error_code)
    return {
        "job_id": number,
        "name": job.get("name", ""),
        "state": told.get("state"),
        "error_code": error_code,
        "error": (job.get("error") or {}).get("message", ""),
        "exit_code": job.get("exit_code"),
        "as_expected": ended == _EXPECTED[number],
        "outputs": outputs,
        "timing": job.get("facts", {}).get("timing_s", {}),
        "directory": job.get("directory", ""),
    }


def _text(report: dict[str, Any]) -> str:
    rows = []
    files = []
    for job in report["jobs"]:
        timing = job["timing"]
        mark = "as expected" if job["as_expected"] else "NOT AS EXPECTED"
        spent = [seconds(timing.get(name, 0.0)) for name in ("stagein", "payload", "stageout")]
        rows.append((job["job_id"], job["name"], job["state"], job["exit_code"], *spent, mark))
        files += [(job["job_id"], output["lfn"], size(output["size"]), output["path"]) for output in job["outputs"]]
    head = ("job", "what", "state", "exit", "stage-in", "payload", "stage-out", "")
    lines = [table(head, rows, right=("job", "exit", "stage-in", "payload", "stage-out")), ""]
    lines += [f"job {job['job_id']} failed: {job['error']}" for job in report["jobs"] if job["error"]]
    lines += ["", table(("job", "output", "size", "where"), files, right=("job", "size")), ""]
    db = os.path.relpath(report["db"]) if len(os.path.relpath(report["db"])) < len(report["db"]) else report["db"]
    lines += [
        f"the PilotDB   {report['db']}",
        f"look closer   {_called()} show {_FIRST + 2} --db {db}",
        f"all of it     {report['workdir']}   ({report['seconds']} s)",
    ]
    return "\n".join(lines)


def _called() -> str:
    """What a person types to start this program: bin/pilot as it was called, else the name."""
    return os.environ.get("PILOT_PROGRAM") or "pilot"
