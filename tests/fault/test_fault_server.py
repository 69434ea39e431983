"""A job server that fails in every way it can: nothing is lost, and each job has exactly one accepted final report."""

from __future__ import annotations

import time
from typing import Any

import pytest
import requests

from pilot.server.launch import RunningServer, running_server
from tests.bench import shell_job
from tests.pilots import Site, assert_reported_once


def plague(site: Site, *rules: dict[str, Any]) -> None:
    assert requests.post(site.url + "/faults", json=list(rules), timeout=5).status_code == 200


def struck(site: Site) -> int:
    return sum(rule["struck"] for rule in requests.get(site.url + "/faults", timeout=5).json()["faults"])


#: What a server may do once or twice to a request, before or after it took effect.
MISHAPS: dict[str, dict[str, Any]] = {
    "garbage": {"do": "garbage"},
    "half a JSON": {"do": "half"},
    "a connection cut in the answer": {"do": "cut"},
    "500": {"do": "error", "status": 500},
    "500 after the commit": {"do": "error", "status": 500, "when": "after"},
    "503": {"do": "error", "status": 503},
    "a database time-out": {"do": "code", "code": 10},
    "a dropped connection": {"do": "close"},
    "a dropped connection after the commit": {"do": "close", "when": "after"},
    "silence": {"do": "hang", "seconds": 30},
    "silence after the commit": {"do": "hang", "seconds": 30, "when": "after"},
    "a slow answer": {"do": "delay", "seconds": 0.6},
}


@pytest.mark.parametrize(
    ("dialect", "mishap"),
    [
        *(("v1", name) for name in MISHAPS),
        *(("classic", name) for name in ("garbage", "500 after the commit", "silence")),
    ],
)
def test_the_final_report_comes_through(own_site: Site, mishap: str, dialect: str) -> None:
    site = own_site
    number = site.shell("sleep 0.4", outputs=())
    plague(site, {"method": "*update*ob*", "skip": 2, "count": 1, **MISHAPS[mishap]})
    assert site.run("--jobs", "1", "--dialect", dialect, "--http-timeout", "1") == 0, site.log()
    assert struck(site) >= 1, "nothing went wrong"
    assert_reported_once(site, number, "finished")


def test_many_jobs_come_through_a_storm(own_site: Site) -> None:
    """The first answers are all wrong, each in another way."""
    site = own_site
    numbers = site.submit(*(shell_job(0, "true", logFile=f"l{n}", outFiles=f"l{n}") for n in range(8)))
    storm = ("garbage", "500 after the commit", "a connection cut in the answer")
    plague(site, *({"method": "*update*ob*", "skip": n, "count": 1, **MISHAPS[name]} for n, name in enumerate(storm)))
    assert site.run("--jobs", "8", "--slots", "4", "--dialect", "v1") == 0, site.log()
    assert struck(site) >= 2
    for number in numbers:
        assert_reported_once(site, number, "finished")


@pytest.mark.parametrize("mishap", [name for name in MISHAPS if "after" not in name])
def test_jobs_are_acquired_in_the_end(own_site: Site, mishap: str) -> None:
    """An answer that was lost after the server gave the job away loses that job for half an hour: nobody's fault."""
    site = own_site
    number = site.shell("true")
    plague(site, {"method": "*acquire*", "count": 1, **MISHAPS[mishap]})
    spoilt = MISHAPS[mishap]["do"] in ("garbage", "half", "cut")
    if spoilt:
        site.shell("true")
    options = ("--http-timeout", "1", "--getjob-requests", "1", "--dialect", "v1")
    assert site.run("--jobs", "1", *options) == 0, site.log()
    assert struck(site) == 1
    assert_reported_once(site, number + 1 if spoilt else number, "finished")


def test_the_final_report_whose_answer_was_lost_is_repeated_and_counted_once(own_site: Site) -> None:
    site = own_site
    number = site.shell("true")
    plague(site, {"method": "*update_job*", "do": "close", "when": "after", "skip": 2, "count": 2})
    assert site.run("--jobs", "1", "--dialect", "v1") == 0
    told = assert_reported_once(site, number, "finished")
    assert told["repeated_final_reports"] >= 1
    (final,) = [m for m in site.job(number)["messages"] if m["final"]]
    assert final["tries"] == told["repeated_final_reports"] + 1


def test_a_server_that_is_killed_and_restarted_in_the_middle_costs_nothing(tmp_path: Any) -> None:
    with running_server(tmp_path / "jobs.db") as first:
        site = Site(tmp_path, first.url)
        try:
            _through_a_restart(site, first)
        finally:
            site.end()


def _through_a_restart(site: Site, first: RunningServer) -> None:
    jobs = [shell_job(0, f"touch ../run{n}; sleep 1.{n}", logFile=f"l{n}", outFiles=f"l{n}") for n in range(3)]
    numbers = site.submit(*jobs)
    pilot = site.start("--jobs", "3", "--slots", "2", "--heartbeat", "0.2")
    site.wait_for(lambda: (site.workdir / "run0").exists() and (site.workdir / "run1").exists())
    first.process.kill()
    first.process.wait()
    time.sleep(2.5)
    assert pilot.poll() is None, "a pilot with a report to deliver does not end"
    port = int(first.url.rpartition(":")[2])
    with running_server(site.folder / "jobs.db", port=port):
        assert pilot.wait(30) == 0, site.log()
        for number in numbers:
            assert_reported_once(site, number, "finished")
        kept = [m for m in site.job(numbers[0])["messages"] if not m["final"] and m["tries"] > 3]
        assert not kept, "heartbeats coalesce, they do not queue up"


def test_without_any_server_the_pilot_says_so_and_ends_with_the_code_for_it(site: Site) -> None:
    site.url = "http://127.0.0.1:9"
    assert site.run("--getjob-failures", "2", "--wait", "0.2") == 79
    assert "no job was acquired (try 2)" in site.log()


def test_heartbeats_go_on_while_a_payload_runs(site: Site) -> None:
    number = site.shell("sleep 1.5")
    assert site.run("--jobs", "1", "--heartbeat", "0.25") == 0
    told = assert_reported_once(site, number, "finished")
    assert told["updates"] >= 6


def test_a_server_that_refuses_the_final_report_for_good_is_told_to_people(own_site: Site) -> None:
    site = own_site
    number = site.shell("true")
    plague(site, {"method": "*update_job*", "do": "code", "code": 50})
    assert site.run("--jobs", "1", "--dialect", "v1") == 0
    assert "refused the final report" in site.log()
    job = site.job(number)
    assert [m["accepted"] for m in job["messages"] if m["final"]] == [0]
