"""kill -9 of real pilots, at random moments and in every phase; then a new `pilot run` in the same directory."""

from __future__ import annotations

import json
import os
import random
import time
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.bench import patience, shell_job
from tests.copytools.webserver import serving
from tests.pilots import Site, assert_reported_once

WORK = "echo $$ >> ../pids; cat in.txt > out.{0}.txt; sleep {1}; echo end >> out.{0}.txt"


def faults(site: Site, *rules: dict[str, Any]) -> None:
    """Set what the job server does wrong from now on."""
    assert requests.post(site.url + "/faults", json=list(rules), timeout=5).status_code == 200


def bystander() -> int:
    """A process of this test that looks like nobody's, and must survive everything."""
    return os.spawnlp(os.P_NOWAIT, "sleep", "sleep", "300")


@pytest.fixture
def neighbour(request: pytest.FixtureRequest) -> int:
    pid = bystander()

    def end() -> None:
        os.kill(pid, 9)
        os.waitpid(pid, 0)

    request.addfinalizer(end)
    return pid


def died_with_the_answer(site: Site, number: int) -> bool:
    """The server gave the job away, and the pilot died before it had read that.

    No pilot can know of such a job: the server's watcher fails it when nothing is heard of it (protocol.md 3.2).
    """
    told = site.told(number)
    return not site.job(number) and told["state"] == "sent" and told["updates"] == 0


@pytest.mark.parametrize("seed", range(25))
def test_a_pilot_killed_at_a_random_moment_loses_no_job(site: Site, neighbour: int, seed: int) -> None:
    dice = random.Random(seed)
    source = site.input("in.txt", "some input\n" * 1000)
    numbers = site.submit(
        *(
            shell_job(
                0,
                WORK.format(f"{seed}.{n}", round(dice.uniform(0.05, 0.5), 2)),
                inputs={"in.txt": source},
                outputs=(f"out.{seed}.{n}.txt",),
                logFile=f"log.{seed}.{n}.tgz",
                outFiles=f"out.{seed}.{n}.txt,log.{seed}.{n}.tgz",
            )
            for n in range(3)
        )
    )
    for _ in range(dice.choice([1, 1, 2])):
        pilot = site.start("--jobs", "3", "--slots", "2", "--reruns", "5")
        site.wait_for(lambda: (site.workdir / ".pilot.lock").exists())
        time.sleep(dice.uniform(0.1, 1.3))
        pilot.kill()
        pilot.wait()
    assert site.run("--jobs", "3", "--slots", "2", "--reruns", "5", "--getjob-requests", "1") == 0, site.log()
    for at, number in enumerate(numbers):
        if died_with_the_answer(site, number):
            continue
        assert_reported_once(site, number, "finished")
        assert (site.outputs / f"out.{seed}.{at}.txt").read_text() == "some input\n" * 1000 + "end\n"
        assert (site.outputs / f"log.{seed}.{at}.tgz").stat().st_size > 100
    site.assert_nothing_left()
    os.kill(neighbour, 0)
    assert not list(site.outputs.glob(".*")), "no half files"


def test_a_payload_with_sessions_of_its_own_is_ended_by_the_next_pilot(site: Site) -> None:
    """Grandchildren that left the session, the environment's marks still on them, one that ignores SIGTERM."""
    script = """
        (trap '' TERM; while :; do sleep 0.1; done) &
        setsid sleep 300 & setsid bash -c 'setsid sleep 301 & exec sleep 302' &
        touch ../started; echo x > out.txt; [ -e ../second ] && exit 0; touch ../second; sleep 300
    """
    number = site.shell(script, outputs=("out.txt",))
    pilot = site.start("--jobs", "1")
    site.wait_for(lambda: (site.workdir / "started").exists() and len(site.payload_processes()) >= 5)
    pilot.kill()
    pilot.wait()
    assert len(site.payload_processes()) >= 5, "the payload lives on beside its dead pilot"
    assert site.run("--jobs", "1") == 0, site.log()
    assert_reported_once(site, number, "finished")
    site.assert_nothing_left()


@pytest.mark.parametrize("phase", ["staging_in", "running", "staging_out", "reporting"])
def test_a_pilot_killed_in_each_phase_is_followed_by_one_that_finishes(
    own_site: Site, phase: str, tmp_path: Path
) -> None:
    """Each phase is held open: by a slow web server, a long payload, a large log, a job server that says nothing."""
    site = own_site
    script = "cat in.txt > out.txt; [ -e ../again ] && exit; touch ../again; "
    script += {"running": "sleep 60", "staging_out": "head -c 40M /dev/urandom > noise"}.get(phase, "")
    with serving(tmp_path / "web") as web:
        (web.root / "in.txt").write_text("some input\n" * 5000)
        way = "slow/in.txt" if phase == "staging_in" else "in.txt"
        job = shell_job(0, script, outputs=("out.txt",))
        (number,) = site.submit(job | {"inFiles": "in.txt", "scopeIn": "test", "inFilePaths": f"{web.url}/{way}"})
        if phase == "reporting":
            faults(site, {"method": "*update_job*", "do": "hang", "seconds": 60})
        pilot = site.start("--jobs", "1", "--dialect", "v1")
        site.wait_for(lambda: site.phase(number) == phase and (phase != "running" or (site.workdir / "again").exists()))
        pilot.kill()
        pilot.wait()
        assert site.phase(number) == phase
        faults(site)
        assert site.run("--jobs", "1") == 0, site.log()
    assert_reported_once(site, number, "finished")
    assert (site.outputs / "out.txt").read_text() == "some input\n" * 5000
    site.assert_nothing_left()
    runs = site.job(number)["facts"]["runs"]
    assert runs == (2 if phase == "running" else 1), "a payload that has ended is not run again"


def test_a_half_written_output_of_a_dead_pilot_is_written_over(site: Site) -> None:
    number = site.shell("head -c 200M /dev/zero > big.bin", outputs=("big.bin",))
    pilot = site.start("--jobs", "1")
    assert patience(lambda: any(site.outputs.glob(".*.part")) or pilot.poll() is not None, 20.0)
    pilot.kill()
    pilot.wait()
    assert not (site.outputs / "big.bin").exists() and any(site.outputs.glob(".*.part"))
    assert site.run("--jobs", "1") == 0, site.log()
    assert_reported_once(site, number, "finished")
    assert (site.outputs / "big.bin").stat().st_size == 200 << 20
    assert not list(site.outputs.glob(".*"))


def test_jobs_that_still_wait_for_room_are_run_by_the_next_pilot(site: Site) -> None:
    numbers = site.submit(
        *(shell_job(0, f"[ -e ../go ] || {{ touch ../slow; sleep 60; }}; echo {n} >> ../ran") for n in range(3))
    )
    pilot = site.start("--jobs", "3", "--slots", "1", "--prefetch-jobs", "2")
    site.wait_for(lambda: len([n for n in numbers if site.job(n)]) >= 2 and (site.workdir / "slow").exists())
    pilot.kill()
    pilot.wait()
    (site.workdir / "go").touch()
    assert site.run("--jobs", "3", "--slots", "1") == 0, site.log()
    for number in numbers:
        assert_reported_once(site, number, "finished")
    assert sorted((site.workdir / "ran").read_text().split()) == ["0", "1", "2"]


def test_a_job_that_the_server_has_given_up_is_let_go_by_the_next_pilot(own_site: Site) -> None:
    site = own_site
    number = site.shell("echo $$ >> ../pids; sleep 60")
    pilot = site.start("--jobs", "1")
    site.wait_for(lambda: (site.workdir / "pids").exists() and site.told(number)["state"] == "running")
    pilot.kill()
    pilot.wait()
    job = {"job_id": number, "job_status": "failed", "attempt_nr": 1, "pilot_error_code": 1}
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    requests.post(f"{site.url}/api/v1/pilot/update_job", data=json.dumps(job), headers=headers, timeout=5)
    assert site.told(number)["state"] == "failed"
    assert site.run("--jobs", "1") == 0, site.log()
    assert len((site.workdir / "pids").read_text().split()) == 1, "the payload did not run again"
    ended = site.job(number)
    assert (ended["phase"], ended["error_code"]) == ("done", 1236)
    assert site.told(number)["final_reports"] == 1
    site.assert_nothing_left()


def test_a_second_pilot_in_the_same_directory_is_refused_and_the_first_goes_on(site: Site) -> None:
    number = site.shell("while [ ! -e ../go ]; do sleep 0.05; done")
    first = site.start("--jobs", "1")
    site.wait_for(lambda: site.phase(number) == "running")
    assert site.start("--jobs", "1").wait(60) == 2
    (site.workdir / "go").touch()
    assert "another pilot is at work in" in site.log()
    assert first.wait(20) == 0
    assert_reported_once(site, number, "finished")
