"""Whole jobs on real PanDA servers of both generations: submitted there, run by the pilot, finished there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.panda_site import PandaSite


@pytest.fixture(params=["1.0-v1", "0.8-v1", "0.8-classic"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[PandaSite]:
    """A queue of a server of either generation; nothing that the pilot asks there may be refused."""
    new = request.param.startswith("1.0")
    server = request.getfixturevalue("panda_server" if new else "panda_server_old")
    pki, oidc = request.getfixturevalue("pki"), request.getfixturevalue("oidc")
    made = PandaSite(server, pki, oidc, "classic" if request.param.endswith("classic") else "v1", tmp_path)
    yield made
    try:
        assert made.refused() == []
    finally:
        made.end()


@pytest.mark.parametrize("token", [False, True], ids=["certificate", "token"])
def test_a_job_is_acquired_run_and_finished(site: PandaSite, token: bool) -> None:
    (number,) = site.submit("echo hello > out.txt")
    assert site.run(token=token) == 0, site.log()
    assert site.job(number)["jobstatus"] == "holding"
    site.conclude()
    job, files = site.job(number), site.files(number)
    assert (job["jobstatus"], job["piloterrorcode"], job["transexitcode"]) == ("finished", 0, "0"), site.log()
    assert (files["out.txt"]["status"], files["out.txt"]["fsize"]) == ("ready", 6)
    assert files["out.txt"]["checksum"] == "ad:084b021f"
    assert (site.outputs / "out.txt").read_text() == "hello\n"


def test_ten_jobs_run_in_four_slots(site: PandaSite) -> None:
    numbers = site.submit(*[f"sleep 1; echo {n} > out.{n}" for n in range(10)], outputs=())
    assert site.run("--slots", "4") == 0, site.log()
    site.conclude()
    assert [site.job(number)["jobstatus"] for number in numbers] == ["finished"] * 10, site.log()


def test_a_job_killed_at_the_server_is_stopped_and_cancelled(site: PandaSite) -> None:
    (number,) = site.submit("sleep 45")
    pilot = site.start("--heartbeat", "0.5", "--kill-after", "1")
    site.wait(lambda: site.job(number)["jobstatus"] == "running", "running")
    # The older server takes a job that is in one table only for a locked one when it runs on PostgreSQL.
    if site.call("job/kill", {"job_ids": [number]})["data"] != [True]:
        assert site.call("job/set_command", {"job_id": number, "command": "tobekilled"})["success"]
    assert pilot.wait(60) == 0, site.log()
    site.conclude()
    job = site.job(number)
    assert (job["jobstatus"], job["piloterrorcode"]) == ("cancelled", 1144), job


def test_a_job_in_debug_mode_shows_what_its_payload_writes(site: PandaSite) -> None:
    (number,) = site.submit("echo looking; while [ ! -e go ]; do sleep 0.1; done; date > out.txt")
    pilot = site.start("--heartbeat", "0.5", "--debug-heartbeat", "0.5")
    site.wait(lambda: site.job(number)["jobstatus"] == "running", "running")
    site.call("job/set_debug_mode", {"job_id": number, "mode": True})
    site.wait(
        lambda: any("looking" in row["stdout"] for row in site.rows("SELECT * FROM jobsDebug")), "seen by the server"
    )
    (site.workdir / f"job-{number}.1" / "go").touch()
    assert pilot.wait(60) == 0, site.log()
    site.conclude()
    assert site.job(number)["jobstatus"] == "finished"


def test_outputs_that_are_described_by_an_expression_are_registered_by_their_names(site: PandaSite) -> None:
    (number,) = site.submit("for n in 1 2 3; do echo $n > hist_$n.root; done", outputs=(r"regex|hist_\d+\.root",))
    assert site.run() == 0, site.log()
    site.conclude()
    assert site.job(number)["jobstatus"] == "finished", site.log()
    ready = {lfn for lfn, row in site.files(number).items() if row["status"] == "ready" and row["type"] == "output"}
    assert ready == {"hist_1.root", "hist_2.root", "hist_3.root"}
