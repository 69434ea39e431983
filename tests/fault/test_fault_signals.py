"""Pilots that are told to end: what exists is saved, the report is sent, and nothing is left, within the grace."""

from __future__ import annotations

import signal
import tarfile
import time
from pathlib import Path

import pytest
import requests

from tests.bench import shell_job
from tests.copytools.webserver import serving
from tests.pilots import Site, assert_reported_once


def log_of(site: Site, number: int, name: str) -> str:
    """A file out of the log archive."""
    with tarfile.open(site.outputs / "job.0.log.tgz") as archive:
        file = archive.extractfile(f"tarball_PandaJob_{number}_{site.queue}/{name}")
        assert file is not None
        return file.read().decode()


@pytest.mark.parametrize(
    ("number", "code", "error"),
    [(signal.SIGTERM, 143, 1201), (signal.SIGINT, 130, 1208), (signal.SIGUSR1, 138, 1207), (signal.SIGQUIT, 131, 1202)],
)
def test_a_signal_ends_the_payload_saves_what_exists_and_reports(
    site: Site, number: signal.Signals, code: int, error: int
) -> None:
    script = "trap 'echo told to end; exit 9' TERM; echo half > out.txt; touch ../started; sleep 60 & wait"
    job = site.shell(script, outputs=("out.txt",))
    pilot = site.start()
    site.wait_for(lambda: (site.workdir / "started").exists())
    began = time.monotonic()
    pilot.send_signal(number)
    assert pilot.wait(10) == code, site.log()
    assert time.monotonic() - began < 8
    told = assert_reported_once(site, job, "failed")
    assert told["facts"]["pilot_error_code"] == error
    assert number.name in told["facts"]["pilot_error_diag"]
    assert told["facts"]["trans_exit_code"] in (9, "9"), "the payload's own exit code is not hidden"
    assert log_of(site, job, "payload.stdout") == "told to end\n"
    assert log_of(site, job, "out.txt") == "half\n"
    site.assert_nothing_left()


def test_a_payload_that_ignores_sigterm_is_killed_with_its_whole_family(site: Site) -> None:
    script = """
        trap '' TERM
        setsid bash -c "trap '' TERM; while :; do sleep 0.1; done" &
        (setsid setsid sleep 300 &) ; touch ../started; while :; do sleep 0.1; done
    """
    job = site.shell(script)
    pilot = site.start("--kill-after", "0.3")
    site.wait_for(lambda: (site.workdir / "started").exists() and len(site.payload_processes()) >= 3)
    pilot.terminate()
    assert pilot.wait(10) == 143
    told = assert_reported_once(site, job, "failed")
    assert told["facts"]["trans_exit_code"] in (137, "137")
    site.assert_nothing_left()


def test_a_second_signal_hastens_the_end(site: Site) -> None:
    job = site.shell("trap '' TERM; touch ../started; while :; do sleep 0.1; done")
    pilot = site.start("--kill-after", "30", "--grace", "40")
    site.wait_for(lambda: (site.workdir / "started").exists())
    pilot.terminate()
    time.sleep(1.5)  # two signals at nearly the same time are one order that came twice
    assert pilot.poll() is None
    pilot.terminate()
    assert pilot.wait(15) == 143
    assert_reported_once(site, job, "failed")
    site.assert_nothing_left()


def test_an_idle_pilot_ends_at_once(site: Site) -> None:
    pilot = site.start("--getjob-requests", "0", "--wait", "60")
    site.wait_for(lambda: (site.workdir / "pilot.db").exists())
    time.sleep(0.7)
    began = time.monotonic()
    pilot.terminate()
    assert pilot.wait(5) == 143
    assert time.monotonic() - began < 3


def test_a_stop_in_stage_in_ends_the_transfer_and_the_log_is_staged(site: Site, tmp_path: Path) -> None:
    with serving(tmp_path / "web") as web:
        (web.root / "in.txt").write_bytes(b"x" * 100_000)
        job = shell_job(0, "touch ../ran", outputs=("out.txt",))
        (number,) = site.submit(
            job | {"inFiles": "in.txt", "scopeIn": "test", "inFilePaths": f"{web.url}/stall/in.txt"}
        )
        pilot = site.start()
        site.wait_for(lambda: web.count["GET stall"])
        began = time.monotonic()
        pilot.terminate()
        assert pilot.wait(9) == 143
    assert time.monotonic() - began < 6
    told = assert_reported_once(site, number, "failed")
    assert told["facts"]["pilot_error_code"] == 1201
    assert set(told["report"]) == {"job.0.log.tgz"}
    assert "phase staging_in" in log_of(site, number, "pilot.log")
    assert not (site.workdir / "ran").exists()


def test_outputs_that_are_under_way_arrive_although_the_pilot_is_told_to_end(site: Site) -> None:
    """The payload has done its work: its job is finished, not thrown away."""
    number = site.shell("head -c 30M /dev/urandom > noise; echo good > out.txt", outputs=("out.txt",))
    pilot = site.start()
    site.wait_for(lambda: site.phase(number) == "staging_out")
    pilot.terminate()
    assert pilot.wait(12) == 143
    assert_reported_once(site, number, "finished")
    assert (site.outputs / "out.txt").read_text() == "good\n"


def test_jobs_that_wait_for_room_are_reported_as_well(site: Site) -> None:
    numbers = site.submit(*(shell_job(0, "touch ../started; sleep 60") for _ in range(3)))
    pilot = site.start("--slots", "1", "--prefetch-jobs", "1")
    site.wait_for(lambda: (site.workdir / "started").exists() and len([n for n in numbers if site.job(n)]) == 2)
    pilot.terminate()
    assert pilot.wait(12) == 143
    states = [site.told(number) for number in numbers]
    assert [told["final_reports"] for told in states] == [1, 1, 0]
    assert states[2]["state"] == "activated", "the third was never asked for"


def test_a_job_that_arrives_while_the_pilot_drains_is_given_back_with_a_report(own_site: Site) -> None:
    site = own_site
    requests.post(site.url + "/faults", json={"method": "*acquire*", "do": "delay", "seconds": 1.5}, timeout=5)
    number = site.shell("touch ../ran; sleep 60")
    pilot = site.start("--dialect", "v1")
    site.wait_for(lambda: requests.get(site.url + "/faults", timeout=5).json()["faults"][0]["struck"])
    pilot.terminate()
    assert pilot.wait(10) == 143
    told = site.told(number)
    assert told["state"] == "activated" or (told["final_reports"], told["state"]) == (1, "failed"), told["history"]
    assert not (site.workdir / "ran").exists()


def test_a_pilot_at_a_dead_server_keeps_the_report_and_ends_within_the_grace(
    own_site: Site, own_server: object
) -> None:
    site = own_site
    number = site.shell("touch ../started; sleep 60")
    pilot = site.start("--grace", "2")
    site.wait_for(lambda: (site.workdir / "started").exists() and site.told(number)["state"] == "running")
    own_server.process.kill()  # type: ignore[attr-defined]
    began = time.monotonic()
    pilot.terminate()
    assert pilot.wait(10) == 143
    assert time.monotonic() - began < 6
    job = site.job(number)
    assert (job["phase"], job["error_code"]) == ("reporting", 1201)
    assert [m["accepted"] for m in job["messages"] if m["final"]] == [None]
    site.assert_nothing_left()


def test_the_lifetime_ends_jobs_with_the_number_for_it(site: Site) -> None:
    number = site.shell("sleep 60")
    assert site.run("--lifetime", "2", "--least-time", "0") == 81
    told = assert_reported_once(site, number, "failed")
    assert told["facts"]["pilot_error_code"] == 1213
    site.assert_nothing_left()


def test_a_kill_by_the_server_ends_the_payload_and_the_pilot_goes_on(site: Site) -> None:
    first = site.shell("touch ../started; sleep 60", outputs=("out.txt",))
    pilot = site.start("--jobs", "2", "--heartbeat", "0.3", "--getjob-requests", "0")
    site.wait_for(lambda: (site.workdir / "started").exists())
    site.steer(first, "kill")
    site.wait_for(lambda: site.told(first)["final_reports"])
    assert site.told(first)["facts"]["pilot_error_code"] == 1144
    second = site.shell("true")
    assert pilot.wait(20) == 0
    assert_reported_once(site, first, "cancelled")
    assert_reported_once(site, second, "finished")
    site.assert_nothing_left()
