"""Whole pilots whose payloads run in containers, and what is left of them when the pilot is killed."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from pilot.plugins.containers.base import Host
from pilot.plugins.containers.bubblewrap import Bubblewrap
from tests.pilots import Site, assert_reported_once


def test_a_sandboxed_payload_reads_a_linked_input_and_writes_its_directory_alone(site: Site) -> None:
    missing = Bubblewrap(Host(env=dict(os.environ))).check()
    if missing:
        assert os.environ.get("CI") != "true", missing
        pytest.skip(missing)
    source = site.input("in.txt", "data for the sandbox\n")
    beside = site.folder / "beside"
    script = f'cat in.txt > out.txt; touch "{beside}"; touch /usr/bad && exit 5; [ "$HOME" = "$PWD" ] || exit 6'
    number = site.shell(script, outputs=("out.txt",), inputs={"in.txt": source})
    code = site.run("--container", "bubblewrap", "--stage-in-mode", "symlink", "--input-dir", site.inputs, seconds=60)
    assert code == 0, site.log()
    assert_reported_once(site, number, "finished")
    assert not beside.exists() and not Path("/usr/bad").exists()
    assert [path.read_text() for path in site.outputs.rglob("out.txt")] == ["data for the sandbox\n"]


def _docker(told: dict[str, Any], *words: str) -> str:
    env = {"PATH": os.environ["PATH"], **told["env"]}
    return subprocess.run([told["client"], *words], env=env, capture_output=True, text=True, check=True).stdout


def test_a_job_runs_in_its_docker_image(site: Site, dockerd: dict[str, Any]) -> None:
    script = "test -f /.dockerenv || exit 5; echo inside > out.txt; echo $PandaID; exit 0"
    number = site.shell(script, outputs=("out.txt",), container_name=dockerd["image"])
    pilot = site.start("--container", "docker", "--cleanup", "none", **dockerd["env"])
    assert pilot.wait(90) == 0, site.log()
    assert_reported_once(site, number, "finished")
    assert (site.directory(number) / "payload.stdout").read_text() == f"{number}\n"
    assert _docker(dockerd, "ps", "--all", "--quiet") == ""


def test_the_next_pilot_ends_the_container_of_a_killed_one(site: Site, dockerd: dict[str, Any]) -> None:
    number = site.shell("touch begun; sleep 300", container_name=dockerd["image"])
    options = ("--container", "docker", "--reruns", "0")
    first = site.start(*options, **dockerd["env"])
    begun: Path = site.directory(number) / "begun"
    site.wait_for(begun.exists, 60)
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert _docker(dockerd, "ps", "--quiet")
    second = site.start(*options, **dockerd["env"])
    assert second.wait(90) is not None
    assert _docker(dockerd, "ps", "--all", "--quiet") == "", site.log()
    assert_reported_once(site, number, "failed")


def test_an_image_that_is_not_there_fails_the_job_with_its_number(site: Site, dockerd: dict[str, Any]) -> None:
    number = site.shell("true", container_name="localhost/absent:1")
    pilot = site.start("--container", "docker", **dockerd["env"])
    pilot.wait(90)
    told = assert_reported_once(site, number, "failed")
    assert "1360" in str(told), told
