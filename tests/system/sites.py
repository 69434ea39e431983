"""A machine with one real container runtime, and pilots on it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from pilot.lib.program import own_command, own_environment

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Site:
    """A machine with one container runtime, and pilots on it."""

    def __init__(self, name: str, image: str, env: dict[str, str], folder: Path) -> None:
        self.name, self.image, self.env, self.folder = name, image, env, folder
        self.pilots: list[subprocess.Popen[bytes]] = []
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

    def words(self, job: dict[str, Any], *options: str) -> list[str]:
        """The command line of a pilot that takes this job, without the program."""
        file = self.folder / "jobs.json"
        file.write_text(json.dumps([job]))
        words = ["run", "--source", "local", "--container", self.name, "--cleanup", "none", "--kill-after", "2"]
        return [*words, "--workdir", str(self.folder / "work"), *options, str(file)]

    def start(self, job: dict[str, Any], *options: str) -> subprocess.Popen[bytes]:
        command = own_command(*self.words(job, *options))
        with (self.folder / "pilot.out").open("ab") as out:
            pilot = subprocess.Popen(command, env={**own_environment(), **self.env}, stdout=out, stderr=out)
        self.pilots.append(pilot)
        return pilot

    def end(self) -> None:
        """End pilots that a failed test left running, with what they run."""
        for pilot in self.pilots:
            while pilot.poll() is None:
                pilot.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    pilot.wait(1)

    def log(self) -> str:
        """What the pilots said."""
        return (self.folder / "pilot.out").read_text()

    def wait_for_log(self, words: str, seconds: float = 60) -> None:
        """Wait until a pilot has said so."""
        end = time.monotonic() + seconds
        while words not in self.log():
            assert time.monotonic() < end, self.log()
            time.sleep(0.02)

    def show(self, job: int = 7) -> dict[str, Any]:
        command = own_command("show", str(job), "--json", "--db", str(self.folder / "work"))
        done = subprocess.run(command, env=own_environment(), capture_output=True, check=True)
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def wait_for(self, pilot: subprocess.Popen[bytes], path: Path, seconds: float = 90) -> None:
        """Wait for a file that the payload makes, as long as the pilot lives."""
        end = time.monotonic() + seconds
        while not path.exists():
            assert time.monotonic() < end and pilot.poll() is None, self.log()
            time.sleep(0.02)

    @property
    def directory(self) -> Path:
        return self.folder / "work" / "job-7.1"


def make_site(request: pytest.FixtureRequest, name: str, folder: Path) -> Site:
    """The runtime of that name, with the image that the tests have for it."""
    image, env = "", {"PATH": PATH}
    if name == "bubblewrap":
        image = request.getfixturevalue("rootfs")["folder"]
    elif name == "apptainer":
        endpoint = request.getfixturevalue("apptainer")
        image, env = endpoint["image"], {"PATH": f"{endpoint['path']}:{PATH}"}
    elif name != "none":
        endpoint = request.getfixturevalue("dockerd" if name == "docker" else name)
        image, env = endpoint["image"], {**env, **endpoint["env"]}
    site = Site(name, image, env, folder)
    request.addfinalizer(site.end)
    return site


def left_running(place: str) -> list[str]:
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
