"""Whole jobs in real containers: the pilot stages, runs the payload inside, watches it, and stages out."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from pilot.lib.program import own_command, own_environment

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Site:
    """A machine with one container runtime, and pilots on it."""

    def __init__(self, name: str, image: str, env: dict[str, str], folder: Path) -> None:
        self.name, self.image, self.env, self.folder = name, image, env, folder
        (folder / "in.txt").write_text("seven\n")

    def job(self, line: str, **more: Any) -> dict[str, Any]:
        plain = {
            "PandaID": 7,
            "attemptNr": 1,
            "transformation": "/bin/sh",
            "jobPars": f"-c '{line}'",
            "inFiles": "in.txt",
            "inFilePaths": str(self.folder / "in.txt"),
            "scopeIn": "t",
            "outFiles": "out.txt,7.log.tgz",
            "scopeOut": "t",
            "logFile": "7.log.tgz",
            "scopeLog": "t",
            "container_name": self.image,
        }
        return {**plain, **more}

    def start(self, *jobs: dict[str, Any]) -> subprocess.Popen[bytes]:
        file = self.folder / "jobs.json"
        file.write_text(json.dumps(jobs))
        command = own_command("run", "--source", "local", "--container", self.name, "--cleanup", "none")
        command += ["--workdir", str(self.folder / "work"), "--kill-after", "2", str(file)]
        with (self.folder / "pilot.out").open("ab") as out:
            return subprocess.Popen(command, env={**own_environment(), **self.env}, stdout=out, stderr=out)

    def show(self, job: int = 7) -> dict[str, Any]:
        command = own_command("show", str(job), "--json", "--db", str(self.folder / "work"))
        done = subprocess.run(command, env=own_environment(), capture_output=True, check=True)
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    @property
    def directory(self) -> Path:
        return self.folder / "work" / "job-7.1"


@pytest.fixture(params=["docker", "podman", "bubblewrap"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    name = request.param
    env = {"PATH": _PATH}
    if name == "docker":
        endpoint = request.getfixturevalue("dockerd")
        return Site(name, endpoint["image"], {**env, **endpoint["env"]}, tmp_path)
    if name == "podman":
        endpoint = request.getfixturevalue("podman")
        return Site(name, endpoint["image"], {**env, **endpoint["env"]}, tmp_path)
    return Site(name, request.getfixturevalue("rootfs")["folder"], env, tmp_path)


def test_a_job_runs_inside_and_its_output_is_staged_out(site: Site) -> None:
    line = "cat /etc/debian_version > where; tr a-z A-Z < in.txt > out.txt; exit 0"
    assert site.start(site.job(line)).wait(120) == 0, (site.folder / "pilot.out").read_text()
    job = site.show()
    assert (job["outcome"], job["exit_code"]) == ("finished", 0), job["error"]
    (out,) = (site.folder / "work" / "storage").rglob("out.txt")
    assert out.read_text() == "SEVEN\n"
    assert (site.directory / "where").read_text().startswith("12")


def test_what_runs_inside_is_watched_with_all_it_uses(site: Site) -> None:
    """`tail` keeps 80 MB until its input ends."""
    line = "(head -c 80000000 /dev/zero; sleep 4) | tail -c 80000000 > /dev/null; cp in.txt out.txt"
    assert site.start(site.job(line)).wait(120) == 0, (site.folder / "pilot.out").read_text()
    job = site.show()
    assert job["outcome"] == "finished", job["error"]
    summary = json.loads((site.directory / "memory_monitor_summary.json").read_text())
    assert summary["Max"]["pss"] > 75_000


def test_a_payload_that_fails_inside_keeps_its_exit_code(site: Site) -> None:
    assert site.start(site.job("echo wrong thing >&2; exit 9")).wait(120) == 0
    job = site.show()
    assert (job["outcome"], job["exit_code"], job["error_code"]) == ("failed", 9, 1305)
    assert "wrong thing" in job["error"]["message"]


def test_an_image_that_is_not_there_is_told_as_such(site: Site) -> None:
    image = "/no/such/image" if site.name == "bubblewrap" else "localhost/no-such-image:1"
    assert site.start(site.job("true", container_name=image)).wait(120) == 0
    job = site.show()
    assert (job["outcome"], job["error_code"]) == ("failed", 1360), job["error"]


def test_a_killed_pilot_leaves_a_container_that_the_next_one_ends(site: Site) -> None:
    first = site.start(site.job("echo up > ready; while true; do sleep 1; done", maxWalltime=4))
    end = time.monotonic() + 60
    while not (site.directory / "ready").exists():
        assert time.monotonic() < end and first.poll() is None, (site.folder / "pilot.out").read_text()
        time.sleep(0.05)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    (site.directory / "ready").unlink()
    assert site.start(site.job("true")).wait(120) == 0, (site.folder / "pilot.out").read_text()
    job = site.show()
    assert (job["outcome"], job["error_code"]) == ("failed", 1213), job["error"]
    assert not _left_running(str(site.directory))


def _left_running(place: str) -> list[str]:
    """Processes that work in the job's directory, by whatever name it is seen there."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if place in (entry / "cmdline").read_text() and entry.name != str(os.getpid()):
                    found.append((entry / "cmdline").read_text())
            except OSError:
                continue
    return found
