"""However a pilot ends, and whatever its payload runs in: no process, container, mount or cgroup stays behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pilot.lib.program import own_environment
from pilot.plugins.containers.base import Host
from pilot.plugins.containers.registry import CONTAINERS
from tests.system.sites import PATH, Site, make_site

#: Goes on whatever it is told, and has a child that leaves its session and its parent; a second start ends at once.
PAYLOAD = (
    "grep -q stop in.txt && { cp in.txt out.txt; exit 0; }; "
    "trap : TERM; (setsid sleep 31NUMBER &); cat /proc/self/cgroup > groups; echo up > ready; "
    "while true; do sleep 0.0NUMBER; done"
)
#: Ends by itself and leaves something running.
BRIEF = (
    "(setsid sleep 31NUMBER </dev/null >/dev/null 2>&1 &); cat /proc/self/cgroup > groups; cp in.txt out.txt; exit 0"
)
#: A pilot with a mistake in its heart: as soon as the payload is up, its main loop gets an exception that nobody knows.
BROKEN = """
import os, sys
from pilot.engine.agent import Agent
from pilot.cli.main import main
def broken(self, message):
    if os.path.exists({ready!r}):
        raise ZeroDivisionError("a mistake in the pilot")
Agent.from_monitor = broken
sys.argv = ["pilot", *{words!r}]
main()
"""


@pytest.fixture(params=["none", "bubblewrap", "podman", "docker"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    return make_site(request, request.param, tmp_path)


class Traces:
    """What there is on this machine that may come from the site's pilots."""

    def __init__(self, site: Site, number: str) -> None:
        self._site, self._number = site, number
        self._containers = self._all_containers()
        self._mounts = self._all_mounts()

    def _all_containers(self) -> set[str]:
        words = {"podman": ["podman"], "docker": ["/usr/bin/docker"]}.get(self._site.name)
        if words is None:
            return set()
        env = {"PATH": PATH, "HOME": "/root", **self._site.env}
        done = subprocess.run([*words, "ps", "-a", "-q"], env=env, capture_output=True, text=True, check=True)
        return set(done.stdout.split())

    def _all_mounts(self) -> set[str]:
        folders = {
            re.split(r"(?<=/var/tmp/)([\w-]+)", value)[1] for value in self._site.env.values() if "/var/tmp/" in value
        }
        mine = (str(self._site.folder), *(f"/var/tmp/{name}/" for name in folders))
        mounts = {line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()}
        own = ("/netns/default", "/graph/overlay")  # the runtimes make these for themselves, with their first container
        return {mount for mount in mounts if mount.startswith(mine) and not mount.endswith(own)}

    def left(self) -> dict[str, list[str]]:
        """By kind; empty when all is as before."""
        found = {
            "processes": [
                " ".join(words)
                for words in _commands()
                if f"31{self._number}" in words or f"0.0{self._number}" in words
            ],
            "containers": sorted(self._all_containers() - self._containers),
            "mounts": sorted(self._all_mounts() - self._mounts),
            "cgroups": [str(path) for path in self._groups() if path.exists()],
        }
        return {kind: names for kind, names in found.items() if names}

    def _groups(self) -> list[Path]:
        """The cgroups that the payload was in, as far as they were made for it."""
        groups = self._site.directory / "groups"
        found = []
        for line in groups.read_text().splitlines() if groups.exists() else ():
            _, names, path = line.split(":", 2)
            if "pilot-" in path:
                top = Path("/sys/fs/cgroup")
                found.append(top / (names or ("unified" if (top / "unified").is_dir() else "")) / path.strip("/"))
        return found


def _commands() -> list[list[str]]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                found.append((entry / "cmdline").read_text().split("\0"))
            except OSError:
                continue
    return found


def _number(site: Site) -> str:
    """In the payload's arguments, so that its processes are known whatever runs them."""
    return f"{os.getpid()}{abs(hash(str(site.folder))) % 1000}"


def lines(site: Site, text: str) -> str:
    return text.replace("NUMBER", _number(site))


def test_told_to_end(site: Site) -> None:
    traces = Traces(site, _number(site))
    pilot = site.start(site.job(lines(site, PAYLOAD)), "--kill-after", "0.5")
    site.wait_for(pilot, site.directory / "ready")
    pilot.send_signal(signal.SIGTERM)
    assert pilot.wait(90) == 143, site.log()
    assert traces.left() == {}
    assert (site.directory / "groups").exists()


def test_told_twice_to_end(site: Site) -> None:
    """The second time, payloads are killed and nothing is waited for."""
    traces = Traces(site, _number(site))
    pilot = site.start(site.job(lines(site, PAYLOAD)), "--kill-after", "60", "--grace", "8")
    site.wait_for(pilot, site.directory / "ready")
    pilot.send_signal(signal.SIGTERM)
    site.wait_for_log("told to end by SIGTERM")
    end = 0
    while "told to end once more" not in site.log() and end < 40:  # signals that follow each other at once count as one
        pilot.send_signal(signal.SIGTERM)
        end += 1
        try:
            pilot.wait(0.5)
        except subprocess.TimeoutExpired:
            continue
    assert pilot.wait(90) == 143, site.log()
    assert traces.left() == {}


def test_killed_and_started_again(site: Site) -> None:
    traces = Traces(site, _number(site))
    pilot = site.start(site.job(lines(site, PAYLOAD)))
    site.wait_for(pilot, site.directory / "ready")
    pilot.kill()
    pilot.wait()
    (site.folder / "in.txt").write_text("stop\n")
    (site.directory / "in.txt").unlink()  # what is still there as it was moved is not moved again
    assert site.start(site.job(lines(site, PAYLOAD)), "--kill-after", "0.5").wait(120) == 0, site.log()
    assert site.show()["outcome"] == "finished"
    assert traces.left() == {}


def test_a_mistake_in_the_pilot(site: Site) -> None:
    traces = Traces(site, _number(site))
    words = site.words(site.job(lines(site, PAYLOAD)))
    code = BROKEN.format(ready=str(site.directory / "ready"), words=words)
    env = {**own_environment(), **site.env}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode != 0 and "ZeroDivisionError" in done.stderr, done.stderr
    assert traces.left() == {}


def test_at_the_end_of_its_jobs(site: Site) -> None:
    traces = Traces(site, _number(site))
    assert site.start(site.job(lines(site, BRIEF))).wait(120) == 0, site.log()
    assert site.show()["outcome"] == "finished"
    assert traces.left() == {}
    assert (site.directory / "groups").exists()
    runtime = CONTAINERS.load(site.name)(Host(env={"PATH": PATH, **site.env}))
    assert runtime.check() == ""
