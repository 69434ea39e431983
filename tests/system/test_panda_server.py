"""Whole jobs on real PanDA servers of both generations: submitted there, run by the pilot, finished there."""

from __future__ import annotations

import pytest

from tests.system.panda_site import WAITS_S, PandaSite


@pytest.mark.parametrize("token", [False, True], ids=["certificate", "token"])
def test_a_job_is_acquired_run_and_finished(panda_site: PandaSite, token: bool) -> None:
    (number,) = panda_site.submit("echo hello > out.txt")
    assert panda_site.run(token=token) == 0, panda_site.log()
    assert panda_site.job(number)["jobstatus"] == "holding"
    panda_site.conclude()
    job, files = panda_site.job(number), panda_site.files(number)
    assert (job["jobstatus"], job["piloterrorcode"], job["transexitcode"]) == ("finished", 0, "0"), panda_site.log()
    assert (files["out.txt"]["status"], files["out.txt"]["fsize"]) == ("ready", 6)
    assert files["out.txt"]["checksum"] == "ad:084b021f"
    assert (panda_site.outputs / "out.txt").read_text() == "hello\n"


def test_ten_jobs_run_in_four_slots(panda_site: PandaSite) -> None:
    numbers = panda_site.submit(*[f"sleep 0.3; echo {n} > out.{n}" for n in range(10)], outputs=())
    assert panda_site.run("--slots", "4") == 0, panda_site.log()
    panda_site.conclude()
    assert [panda_site.job(number)["jobstatus"] for number in numbers] == ["finished"] * 10, panda_site.log()


def test_a_job_killed_at_the_server_is_stopped_and_cancelled(panda_site: PandaSite) -> None:
    (number,) = panda_site.submit("sleep 300")
    pilot = panda_site.start("--heartbeat", "0.5", "--kill-after", "1")
    panda_site.wait(lambda: panda_site.job(number)["jobstatus"] == "running", "running")
    # The older server takes a job that is in one table only for a locked one when it runs on PostgreSQL.
    if panda_site.call("job/kill", {"job_ids": [number]})["data"] != [True]:
        assert panda_site.call("job/set_command", {"job_id": number, "command": "tobekilled"})["success"]
    assert pilot.wait(WAITS_S) == 0, panda_site.log()
    panda_site.conclude()
    job = panda_site.job(number)
    assert (job["jobstatus"], job["piloterrorcode"]) == ("cancelled", 1144), job


def test_a_job_in_debug_mode_shows_what_its_payload_writes(panda_site: PandaSite) -> None:
    (number,) = panda_site.submit("echo looking; while [ ! -e go ]; do sleep 0.1; done; date > out.txt")
    pilot = panda_site.start("--heartbeat", "0.5", "--debug-heartbeat", "0.5")
    panda_site.wait(lambda: panda_site.job(number)["jobstatus"] == "running", "running")
    panda_site.call("job/set_debug_mode", {"job_id": number, "mode": True})
    panda_site.wait(
        lambda: any("looking" in row["stdout"] for row in panda_site.rows("SELECT * FROM jobsDebug")),
        "seen by the server",
    )
    (panda_site.workdir / f"job-{number}.1" / "go").touch()
    assert pilot.wait(WAITS_S) == 0, panda_site.log()
    panda_site.conclude()
    assert panda_site.job(number)["jobstatus"] == "finished"


def test_outputs_that_are_described_by_an_expression_are_registered_by_their_names(panda_site: PandaSite) -> None:
    (number,) = panda_site.submit("for n in 1 2 3; do echo $n > hist_$n.root; done", outputs=(r"regex|hist_\d+\.root",))
    assert panda_site.run() == 0, panda_site.log()
    panda_site.conclude()
    assert panda_site.job(number)["jobstatus"] == "finished", panda_site.log()
    ready = {
        lfn for lfn, row in panda_site.files(number).items() if row["status"] == "ready" and row["type"] == "output"
    }
    assert ready == {"hist_1.root", "hist_2.root", "hist_3.root"}
