"""Whole jobs in real containers: the pilot stages, runs the payload inside, watches it, and stages out."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from tests.system.sites import Site, left_running, make_site


@pytest.fixture(params=["docker", "podman", "bubblewrap", "apptainer"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    return make_site(request, request.param, tmp_path)


def test_a_job_runs_inside_and_its_output_is_staged_out(site: Site) -> None:
    line = "cat /etc/debian_version > where; tr a-z A-Z < in.txt > out.txt; exit 0"
    assert site.start(site.job(line)).wait(120) == 0, site.log()
    job = site.show()
    assert (job["outcome"], job["exit_code"]) == ("finished", 0), job["error"]
    (out,) = (site.folder / "work" / "storage").rglob("out.txt")
    assert out.read_text() == "SEVEN\n"
    assert (site.directory / "where").read_text().startswith("12")


def test_what_runs_inside_is_watched_with_all_it_uses(site: Site) -> None:
    """`tail` keeps 80 MB until its input ends."""
    line = "(head -c 80000000 /dev/zero; sleep 4) | tail -c 80000000 > /dev/null; cp in.txt out.txt"
    assert site.start(site.job(line)).wait(120) == 0, site.log()
    job = site.show()
    assert job["outcome"] == "finished", job["error"]
    summary = json.loads((site.directory / "memory_monitor_summary.json").read_text())
    assert summary["Max"]["pss"] > 75_000


def test_what_runs_inside_keeps_to_the_processors_and_the_memory_of_its_job(site: Site) -> None:
    """The kernel ends what needs too much; its count is read while the container is there."""
    line = "grep Cpus_allowed_list /proc/self/status > cpus; "
    line += "head -c 300000000 /dev/zero | tail -c 300000000 | wc -c; sleep 4"
    options = [
        "--slots",
        str(len(os.sched_getaffinity(0))),
        "--limits",
        "memory_mb=100,memory_grace=1,memory_grace_s=600",
    ]
    assert site.start(site.job(line), *options).wait(120) == 0, site.log()
    assert len((site.directory / "cpus").read_text().split()[1].replace("-", ",").split(",")) == 1
    job = site.show()
    assert (job["outcome"], job["error_code"]) == ("failed", 1212), job["error"]


def test_what_is_ended_for_lack_of_memory_at_once_is_told_as_that(site: Site) -> None:
    """All is over before the pilot has looked into the container, or that has looked at its own memory."""
    options = ["--limits", "memory_mb=60,memory_grace=1,memory_grace_s=600"]
    line = "dd if=/dev/zero of=/dev/null bs=300M count=1"
    assert site.start(site.job(line), *options).wait(120) == 0, site.log()
    job = site.show()
    assert (job["outcome"], job["error_code"]) == ("failed", 1212), job["error"]
    assert not list(site.directory.glob(".oom-*"))


def test_a_sites_utilities_run_inside_with_the_payload(site: Site) -> None:
    config = site.folder / "pilot.toml"
    config.write_text(
        "[environments.e]\nsetup = 'export MADE=outside'\nqueues = ['*']\n"
        "[utilities.a]\ncommand = 'cat /etc/debian_version; echo $MADE'\nwhen = 'before'\n"
        "[utilities.b]\ncommand = 'cat /proc/$PILOT_PAYLOAD_PID/comm; exec sleep 600'\n"
        "[utilities.c]\ncommand = 'echo $PILOT_PAYLOAD_EXIT'\nwhen = 'after'\n"
    )
    line = "while [ ! -s utilities/b.stdout ]; do sleep 0.05; done; cp in.txt out.txt; exit 0"
    assert site.start(site.job(line), "--config", str(config)).wait(120) == 0, site.log()
    assert site.show()["outcome"] == "finished"
    said = {name: (site.directory / "utilities" / f"{name}.stdout").read_text().split() for name in "abc"}
    assert said["a"][0].startswith("12") and said["a"][1] == "outside"
    assert said["b"] == ["bash"] and said["c"] == ["0"]
    assert "processes behind" not in (site.directory / "pilot.log").read_text()


def test_a_payload_that_fails_inside_keeps_its_exit_code(site: Site) -> None:
    assert site.start(site.job("echo wrong thing >&2; exit 9")).wait(120) == 0
    job = site.show()
    assert (job["outcome"], job["exit_code"], job["error_code"]) == ("failed", 9, 1305)
    assert "wrong thing" in job["error"]["message"]


def test_an_image_that_is_not_there_is_told_as_such(site: Site) -> None:
    image = "/no/such/image" if site.image.startswith("/") else "localhost/no-such-image:1"
    assert site.start(site.job("true", container_name=image)).wait(120) == 0
    job = site.show()
    assert (job["outcome"], job["error_code"]) == ("failed", 1360), job["error"]


def test_a_killed_pilot_leaves_a_container_that_the_next_one_ends(site: Site) -> None:
    first = site.start(site.job("echo up > ready; while true; do sleep 1; done", maxWalltime=4))
    site.wait_for(first, site.directory / "ready")
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    (site.directory / "ready").unlink()
    assert site.start(site.job("true")).wait(120) == 0, site.log()
    job = site.show()
    assert (job["outcome"], job["error_code"]) == ("failed", 1213), job["error"]
    assert not left_running(str(site.directory))
