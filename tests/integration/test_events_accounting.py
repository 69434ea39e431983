"""One batch worker ran several jobs and event ranges: what it is charged divides among them, to the last second."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import requests

from pilot.lib.program import own_command, own_environment
from pilot.server.launch import running_server

BURN = """
import time
def burn(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end: pass
"""
EVENTS = (
    BURN
    + """
import os
from pilot.events import ranges
if os.fork() == 0 or True:
    for r in ranges():
        burn(0.02 if r.start_event < 50 else 0.1)
        if 20 <= r.start_event < 30:
            r.failed("no hits in the tracker")
        else:
            r.done()
"""
)


def ask(*words: str) -> str:
    run = subprocess.run(own_command(*words), env=own_environment(), capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout


def job(script: Path, **more: Any) -> dict[str, Any]:
    return {
        "transformation": sys.executable, "jobPars": str(script), "outFiles": f"{script.stem}.log.tgz",
        "logFile": f"{script.stem}.log.tgz", "coreCount": 1,
    } | more  # fmt: skip


class World:
    """What one worker left behind."""

    workdir: str
    numbers: dict[str, int]
    server: dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("accounting")
    scripts = {"burns": BURN + "burn(0.6)", "sleeps": "import time; time.sleep(0.7)", "events": EVENTS}
    for name, text in scripts.items():
        (folder / f"{name}.py").write_text(text)
    events = {"eventService": "True", "nEvents": 60, "nEventsPerRange": 10, "inFiles": "x", "inFilePaths": "/etc/hosts",
              "scopeIn": "test", "maxAttemptES": 1}  # fmt: skip
    jobs = [job(folder / f"{name}.py", **(events if name == "events" else {})) for name in scripts]
    found = World()
    found.workdir = str(folder / "w")
    with running_server(folder / "server.db") as server:
        answer = requests.post(f"{server.url}/submit", json=jobs, timeout=10).json()
        found.numbers = {name: one["PandaID"] for name, one in zip(scripts, answer["jobs"], strict=True)}
        words = ["run", "--url", server.url, "--queue", "HERE", "--jobs", "3", "--slots", "2"]
        (folder / "out").mkdir()
        run = subprocess.run(
            own_command(*words, "--workdir", found.workdir, "--output-dir", str(folder / "out")),
            env=own_environment(), capture_output=True, text=True, timeout=90, check=False,
        )  # fmt: skip
        found.server = {
            name: requests.get(f"{server.url}/jobs/{number}", timeout=5).json()
            for name, number in found.numbers.items()
        }
    assert {one["state"] for one in found.server.values()} == {"finished"}, run.stderr[-3000:]
    return found


def profile(world: World) -> tuple[dict[str, Any], dict[str, dict[str, Any]], dict[str, Any]]:
    told = json.loads(ask("show", "--worker", "--json", "--db", world.workdir))
    names = {number: name for name, number in world.numbers.items()}
    return told["worker"], {names[one["job_id"]]: one for one in told["jobs"]}, told["idle"]


def test_the_jobs_shares_and_the_idle_rest_are_the_workers_own(world: World) -> None:
    worker, jobs, idle = profile(world)
    assert set(jobs) == set(world.numbers) and worker["cpu_told"]
    for what in ("cpu_s", "wall_core_s"):
        parts = [one[what] for one in jobs.values()] + [idle[what]]
        assert min(parts) >= 0 and sum(parts) == pytest.approx(worker[what], rel=1e-9)
    assert worker["wall_core_s"] == pytest.approx((worker["end"] - worker["begin"]) * worker["cores"])
    assert worker["cpu_s"] >= 0.6 + 0.28
    assert jobs["burns"]["cpu_s"] >= 0.55 and jobs["events"]["cpu_s"] >= 0.2
    for one in jobs.values():
        assert worker["begin"] < one["begin"] < one["end"] < worker["end"] and one["runs"] == 1
        assert one["metrics"]["actualCoreCount"] == "1.00" and one["wall_s"] == pytest.approx(one["end"] - one["begin"])
    assert jobs["sleeps"]["wall_s"] >= 0.7 and jobs["events"]["events"] == 50


def test_what_the_server_was_told_of_each_job_fits_into_its_share(world: World) -> None:
    _, jobs, _ = profile(world)
    for name, one in jobs.items():
        told = world.server[name]["facts"]
        cpu_s = float(told["cpu_consumption_time"])
        assert one["cpu_measured_s"] == pytest.approx(cpu_s, abs=1.0)  # the wire has whole seconds
        assert one["cpu_measured_s"] <= one["cpu_s"] + 0.05


def test_show_worker_is_a_table_too(world: World) -> None:
    text = ask("show", "--worker", "--db", world.workdir)
    assert all(f"{number}.1" in text for number in world.numbers.values())
    assert "no job" in text and text.splitlines()[-1].startswith("all ")
    wrong = subprocess.run(
        own_command("show", "--worker", "7", "--db", world.workdir), env=own_environment(), capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert wrong.returncode == 2 and "no pilot 7 has worked here" in wrong.stderr


def test_show_tells_of_event_ranges(world: World) -> None:
    number = str(world.numbers["events"])
    text = ask("show", number, "--db", world.workdir)
    assert "no hits in the tracker" in text and "slowest ranges" in text and "21-30" in text
    assert "told_finished" in text and "all ranges" not in text
    found = json.loads(ask("show", number, "--json", "--db", world.workdir))["event_ranges"]
    assert found["states"] == {"told_finished": 5, "told_failed": 1} and found["total"] == 6
    (failed,) = found["failed"]
    assert (failed["start_event"], failed["last_event"], failed["why"]) == (21, 30, "no hits in the tracker")
    times = [one["wall_s"] for one in found["slowest"]]
    assert times == sorted(times, reverse=True) and found["slowest"][0]["start_event"] == 51
    assert "ranges" not in found


def test_show_ranges_lists_them_all(world: World) -> None:
    number = str(world.numbers["events"])
    found = json.loads(ask("show", number, "--ranges", "--json", "--db", world.workdir))["event_ranges"]["ranges"]
    assert [one["start_event"] for one in found] == [1, 11, 21, 31, 41, 51]
    assert [one["state"] for one in found].count("told_finished") == 5
    text = ask("show", number, "--ranges", "--db", world.workdir)
    assert all(one["id"] in text for one in found)


def test_other_jobs_have_no_event_ranges(world: World) -> None:
    number = str(world.numbers["burns"])
    assert json.loads(ask("show", number, "--json", "--db", world.workdir))["event_ranges"] is None
    assert "event ranges" not in ask("show", number, "--db", world.workdir)
