"""Real pilots beside a real job server: processes of their own, HTTP on loopback, one directory for each test."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from pilot.insight.read import Reader
from pilot.lib.kin import TOKEN
from pilot.lib.program import own_command, own_environment
from tests.bench import patience, shell_job

#: Short waits: a test is not a night shift.
QUICK = ["--wait", "0.1", "--getjob-requests", "2", "--kill-after", "0.5", "--grace", "10", "--http-timeout", "5"]


@dataclass
class Site:
    """A work directory, a place for outputs and a queue of its own on a server that others use as well."""

    folder: Path
    url: str
    queue: str = field(default_factory=lambda: "Q" + secrets.token_hex(4).upper())
    pilots: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.workdir, self.outputs, self.inputs = (self.folder / name for name in ("pilot", "outputs", "inputs"))
        for path in (self.workdir, self.outputs, self.inputs):
            path.mkdir(parents=True, exist_ok=True)

    # jobs

    def input(self, name: str, content: bytes | str = "some input\n") -> Path:
        """A file that jobs may read."""
        path = self.inputs / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def submit(self, *jobs: dict[str, Any], check: bool = True) -> list[int]:
        """Give jobs to the server, for this site alone; `check` False: also such that no one should accept."""
        described = [{key: value for key, value in job.items() if key != "PandaID"} for job in jobs]
        if len(jobs) > 1:  # jobs that run beside each other need a name each for their logs
            described = [_with_own_log(job, at) for at, job in enumerate(described)]
        described = [{**job, "computingSite": self.queue} for job in described]
        answer = requests.post(self.url + "/submit" + ("" if check else "?check=no"), json=described, timeout=10)
        assert answer.status_code == 200, answer.text
        return [job["PandaID"] for job in answer.json()["jobs"]]

    def shell(self, script: str, **more: Any) -> int:
        """Submit one job whose payload is a bash script."""
        (number,) = self.submit(shell_job(0, script, **more))
        return number

    def told(self, number: int) -> dict[str, Any]:
        """What the server knows of a job."""
        found: dict[str, Any] = requests.get(f"{self.url}/jobs/{number}", timeout=10).json()
        return found

    def steer(self, number: int, action: str, **body: Any) -> None:
        """Have the server order something."""
        assert requests.post(f"{self.url}/jobs/{number}/{action}", json=body, timeout=10).status_code == 200

    # pilots

    def start(self, *options: str | Path, **environment: str) -> subprocess.Popen[bytes]:
        """Start a pilot; its log goes to a file of its own."""
        line = own_command("run", "--url", self.url, "--queue", self.queue, "--workdir", str(self.workdir))
        line += ["--output-dir", str(self.outputs), *QUICK, *map(str, options)]
        return self._start(line, environment)

    def start_local(self, *options: str | Path, **environment: str) -> subprocess.Popen[bytes]:
        """Start a pilot that has no server but takes its jobs from files."""
        line = own_command("run", "--source", "local", "--workdir", str(self.workdir))
        return self._start([*line, "--output-dir", str(self.outputs), *QUICK, *map(str, options)], environment)

    def _start(self, line: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
        with (self.folder / f"pilot-{len(self.pilots)}.log").open("wb") as log:
            process = subprocess.Popen(
                line, env=own_environment() | environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self.pilots.append(process)
        return process

    def run(self, *options: str | Path, seconds: float = 40.0) -> int:
        """Let a pilot live to its end; its exit code."""
        return self.start(*options).wait(seconds)

    def log(self, at: int = -1) -> str:
        """What a pilot wrote to stderr."""
        return (self.folder / f"pilot-{range(len(self.pilots))[at]}.log").read_text()

    def ask(self, *words: str) -> Any:
        """The JSON that a command about this work directory prints."""
        done = subprocess.run(
            own_command(*words, "--db", str(self.workdir), "--json"),
            env=own_environment(),
            capture_output=True,
            timeout=20,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    @contextlib.contextmanager
    def reading(self) -> Iterator[Reader]:
        """The PilotDB."""
        reader = Reader(self.workdir / "pilot.db")
        try:
            yield reader
        finally:
            reader.close()

    def job(self, number: int) -> dict[str, Any]:
        """What the PilotDB knows of a job; empty while it does not know it."""
        if not (self.workdir / "pilot.db").is_file():
            return {}
        with self.reading() as reader:
            keys = reader.find(str(number))
            return reader.job(keys[-1]) if keys else {}

    def phase(self, number: int) -> str:
        """Where a job is."""
        return str(self.job(number).get("phase", ""))

    def directory(self, number: int) -> Path:
        """The job's directory."""
        return self.workdir / f"job-{number}.1"

    def wait_for(self, found: Callable[[], object], seconds: float = 15.0) -> None:
        """Wait until something is so."""
        assert patience(lambda: bool(found()), seconds), self.log()

    # processes

    def payload_processes(self) -> list[int]:
        """Every living process of the machine that a pilot of this site started, directly or not.

        Told by the token in its environment, or by its working directory.
        """
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid() and self._mine(entry):
                found.append(int(entry.name))
        return found

    def _mine(self, entry: Path) -> bool:
        try:
            if (entry / "stat").read_text().rpartition(")")[2].split()[0] in "ZX":
                return False
            environment = (entry / "environ").read_bytes()
            where = os.readlink(entry / "cwd")
        except OSError:
            return False
        marked = f"{TOKEN}=".encode() in environment and str(self.workdir).encode() in environment
        return marked or where.startswith(str(self.workdir) + "/")

    def assert_nothing_left(self) -> None:
        """No payload process anywhere, no pilot."""
        assert patience(lambda: not self.payload_processes(), 5.0), self.payload_processes()

    def end(self) -> None:
        """End whatever a failed test left."""
        for process in self.pilots:
            if process.poll() is None:
                process.kill()
            process.wait()
        for pid in self.payload_processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _with_own_log(job: dict[str, Any], at: int) -> dict[str, Any]:
    log = "job.0.log.tgz"
    if job.get("logFile") != log:
        return job
    own = f"job.0-{at}.log.tgz"
    return {**job, "logFile": own, "outFiles": job["outFiles"].replace(log, own)}


def assert_reported_once(site: Site, number: int, state: str | None = None) -> dict[str, Any]:
    """One final report was accepted, and the PilotDB knows it; what the server knows of the job."""
    told = site.told(number)
    assert told["final_reports"] == 1, told["history"]
    assert state is None or told["state"] == state, (told["state"], told["errors"])
    job = site.job(number)
    assert job["phase"] == "done"
    assert [message["accepted"] for message in job["messages"] if message["final"]] == [1]
    return told
