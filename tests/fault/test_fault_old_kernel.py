"""A pilot on a kernel that has no pidfds (older than 5.3): jobs run, end and are ended as everywhere."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from pilot.lib.program import own_command
from tests.pilots import QUICK, Site, assert_reported_once

OLDER = [sys.executable, str(Path(__file__).parents[1] / "old_kernel.py")]


def start(site: Site, *options: str) -> subprocess.Popen[bytes]:
    """A pilot, and all that it starts, without pidfds."""
    line = own_command("run", "--url", site.url, "--queue", site.queue, "--workdir", str(site.workdir))
    return site._start([*OLDER, *line, "--output-dir", str(site.outputs), *QUICK, *options], {})


def test_jobs_run_and_what_a_payload_leaves_is_ended(site: Site) -> None:
    good = site.shell("echo done > result.txt")
    bad = site.shell("(setsid sleep 300 &) ; exit 7")
    assert start(site, "--jobs", "2").wait(60) is not None
    assert_reported_once(site, good, "finished")
    assert site.told(bad)["state"] == "failed"
    assert "the payload left 1 processes behind" in (site.directory(bad) / "pilot.log").read_text()
    site.assert_nothing_left()


def test_a_job_that_is_killed_by_the_server_and_ignores_it_is_ended(site: Site) -> None:
    number = site.shell("trap '' TERM; touch ../started; while :; do sleep 0.1; done")
    pilot = start(site, "--jobs", "1", "--heartbeat", "1")
    site.wait_for(lambda: (site.workdir / "started").exists(), 30)
    site.steer(number, "kill")
    pilot.wait(60)
    assert site.told(number)["final_reports"] == 1
    site.assert_nothing_left()


def test_a_dead_pilots_payload_is_found_and_ended_by_the_next_one(site: Site) -> None:
    number = site.shell("test -e ../again && exit 0; touch ../again; exec sleep 300")
    first = start(site, "--jobs", "1")
    site.wait_for(lambda: (site.workdir / "again").exists(), 30)
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert start(site, "--jobs", "1").wait(60) is not None
    assert_reported_once(site, number)
    site.assert_nothing_left()
