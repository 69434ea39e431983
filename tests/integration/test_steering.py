"""What a server orders is done: kill, debug mode with the active log, an operator's command."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pilot.lib.program import own_command, own_environment
from pilot.server.launch import RunningServer, running_server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningServer]:
    with running_server(tmp_path / "server.db", log=tmp_path / "server.log") as running:
        yield running


class Pilot:
    """One pilot with one job on a server."""

    def __init__(self, server: RunningServer, folder: Path, line: str) -> None:
        self.url = server.url
        self.workdir = folder / "work"
        job = {
            "PandaID": 77,
            "attemptNr": 1,
            "transformation": "/bin/bash",
            "jobPars": f"-c '{line}'",
            "outFiles": "77.log.tgz",
            "logFile": "77.log.tgz",
            "scopeLog": "t",
        }
        self.post("submit", [job])
        command = own_command("run", "--url", self.url, "--queue", "q", "--jobs", "1", "--workdir", str(self.workdir))
        command += ["--heartbeat", "0.2", "--debug-heartbeat", "0.2", "--kill-after", "1"]
        self.process = subprocess.Popen(command, env=own_environment(), stderr=subprocess.DEVNULL)

    def post(self, path: str, body: Any) -> None:
        data = json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/{path}", data, {"Content-Type": "application/json"})
        urllib.request.urlopen(request, timeout=10).read()

    def told(self) -> dict[str, Any]:
        found: dict[str, Any] = json.load(urllib.request.urlopen(f"{self.url}/jobs/77", timeout=10))
        return found

    def wait_for(self, wanted: Any, what: str) -> dict[str, Any]:
        """Ask the server until it has heard what the test waits for."""
        end = time.monotonic() + 20
        while time.monotonic() < end:
            told = self.told()
            if wanted(told):
                return told
            time.sleep(0.05)
        raise AssertionError(f"{what} did not come about: {json.dumps(told)[:1500]}")


def _running(told: dict[str, Any]) -> bool:
    return bool(told["state"] == "running")


def test_a_killed_job_ends_its_payload_and_reports_1144_with_its_log(server: RunningServer, tmp_path: Path) -> None:
    pilot = Pilot(server, tmp_path, "echo $$ > pid; sleep 60")
    pilot.wait_for(_running, "running")
    pilot.wait_for(lambda _: (pilot.workdir / "job-77.1" / "pid").exists(), "the payload's start")
    payload = int((pilot.workdir / "job-77.1" / "pid").read_text())
    pilot.post("jobs/77/kill", {})
    assert pilot.process.wait(20) == 0
    told = pilot.told()
    assert told["errors"]["pilot_error_code"] == 1144
    assert "server" in told["errors"]["pilot_error_diag"]
    assert told["final_reports"] == 1
    assert not Path(f"/proc/{payload}").exists()
    assert list((pilot.workdir / "storage").rglob("77.log.tgz"))


def test_debug_mode_sends_the_end_of_the_file_that_is_being_written(server: RunningServer, tmp_path: Path) -> None:
    pilot = Pilot(server, tmp_path, "echo on stdout; sleep 0.3; mkdir sub; echo deep inside > sub/own.log; sleep 30")
    pilot.wait_for(_running, "running")
    pilot.post("jobs/77/debug", {})
    told = pilot.wait_for(lambda told: "deep inside" in (told.get("stdout") or ""), "the active log")
    assert "sub/own.log" in told["stdout"]
    pilot.post("jobs/77/kill", {})
    assert pilot.process.wait(20) == 0


def test_an_operators_command_is_answered_and_cannot_leave_the_directory(server: RunningServer, tmp_path: Path) -> None:
    pilot = Pilot(server, tmp_path, "echo here > marker.txt; sleep 30")
    pilot.wait_for(_running, "running")
    pilot.post("jobs/77/command", {"command": "ls -l"})
    pilot.wait_for(lambda told: "marker.txt" in (told.get("stdout") or ""), "the listing")
    pilot.post("jobs/77/command", {"command": "tail /etc/passwd"})
    told = pilot.wait_for(lambda told: "neither a known option" in (told.get("stdout") or ""), "the refusal")
    assert "root:" not in told["stdout"]
    pilot.post("jobs/77/kill", {})
    assert pilot.process.wait(20) == 0
