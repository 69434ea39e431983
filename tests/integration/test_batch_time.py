"""Time: the ends that batch system, machine, queue and command line set are known, told and kept."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest

from pilot.cli.queue import queue_of
from pilot.core.settings import Settings
from pilot.plugins.sources.dummy import DummySource
from tests.bench import Bench, shell_job
from tests.pilots import Site, assert_reported_once


def features(folder: Path, **facts: float) -> str:
    """A directory of machine or job features."""
    folder.mkdir(exist_ok=True)
    for name, value in facts.items():
        (folder / name).write_text(f"{int(value)}\n")
    return str(folder)


def squeue(folder: Path, answer: str, after_s: float = 0.0) -> str:
    """A PATH on which `squeue` gives that answer, and not at once."""
    folder.mkdir()
    (folder / "squeue").write_text(f"#!/bin/sh\nsleep {after_s}\n{answer}\n")
    (folder / "squeue").chmod(0o755)
    return f"{folder}:/usr/bin:/bin"


def test_the_server_is_told_the_time_left_and_gives_no_job_that_takes_longer(site: Site, tmp_path: Path) -> None:
    long, short = site.submit(shell_job(0, "true", maxWalltime=500), shell_job(0, "true", maxWalltime=300))
    ends = features(tmp_path / "jf", jobstart_secs=time.time() - 100, wall_limit_secs=700)
    assert site.start("--jobs", "1", JOBFEATURES=ends).wait(30) == 0, site.log()
    assert_reported_once(site, short, "finished")
    assert site.told(long)["state"] == "activated"
    assert re.search(r"the batch job ends in (59\d|600) s; jobs are stopped 120 s before", site.log())


def test_no_job_is_asked_for_when_too_little_time_is_left(site: Site, tmp_path: Path) -> None:
    number = site.shell("true")
    down = features(tmp_path / "mf", shutdowntime=time.time() + 70)
    assert site.start(MACHINEFEATURES=down).wait(30) == 0, site.log()
    assert site.told(number)["state"] == "activated"
    assert "no more jobs are asked for" in site.log() and "less than 60 s" in site.log()


def test_no_job_is_asked_for_before_the_batch_system_has_told_the_end(site: Site, tmp_path: Path) -> None:
    number = site.shell("true")
    path = squeue(tmp_path / "bin", "echo 0:50", after_s=0.7)
    assert site.start(SLURM_JOB_ID="77", PATH=path).wait(30) == 0, site.log()
    assert site.told(number)["state"] == "activated"
    assert "the batch job ends in 50 s" in site.log() and "no more jobs are asked for" in site.log()


def test_a_batch_system_that_does_not_answer_stops_nothing(site: Site, tmp_path: Path) -> None:
    number = site.shell("true")
    path = squeue(tmp_path / "bin", "echo 'slurm_load_jobs error' >&2; exit 1")
    assert site.start("--jobs", "1", SLURM_JOB_ID="78", PATH=path).wait(30) == 0, site.log()
    told = assert_reported_once(site, number, "finished")
    assert told["batch_id"] == "78" and "|SLURM|" in told["facts"]["pilot_id"]
    assert "does not tell when the batch job ends" in site.log()


@pytest.mark.parametrize("which", ["batch", "option", "variable"])
def test_a_job_that_meets_the_end_is_stopped_in_time_saved_and_reported(site: Site, tmp_path: Path, which: str) -> None:
    number = site.shell("echo some words; sleep 60", outputs=("never.txt",))
    down = int(time.time()) + 8
    if which == "batch":
        place = features(tmp_path / "mf", shutdowntime=down)
        pilot = site.start("--least-time", "1", "--end-margin", "4", MACHINEFEATURES=place)
    elif which == "option":
        pilot = site.start("--lifetime", "3", PANDAPILOT_LIFETIME="500")
    else:
        pilot = site.start(PANDAPILOT_LIFETIME="3")
    assert pilot.wait(30) == 81, site.log()
    told = assert_reported_once(site, number, "failed")
    assert told["errors"]["pilot_error_code"] == 1213
    assert told["ended"] < down
    assert ("batch job is about to end" if which == "batch" else "lifetime of 3 s") in told["errors"][
        "pilot_error_diag"
    ]
    assert list(site.outputs.glob("job.0.log.tgz"))
    site.assert_nothing_left()


def test_a_job_from_a_file_that_needs_more_time_than_is_left_is_not_begun(site: Site, tmp_path: Path) -> None:
    file = tmp_path / "jobs.json"
    jobs = [shell_job(1, "touch ../began", maxWalltime=5000), shell_job(2, "true", maxWalltime=50)]
    file.write_text(json.dumps(jobs))
    down = features(tmp_path / "mf", shutdowntime=time.time() + 1000)
    assert site.start_local(file, MACHINEFEATURES=down).wait(30) == 0, site.log()
    refused = site.job(1)
    assert (refused["outcome"], refused["error_code"]) == ("failed", 1213)
    assert "5000 s" in refused["error"]["message"] and not (site.workdir / "began").exists()
    assert site.job(2)["outcome"] == "finished"


def test_a_pilot_that_has_run_for_the_queues_time_floor_takes_no_further_job(tmp_path: Path) -> None:
    source = DummySource([shell_job(1, "sleep 1.2"), shell_job(2, "true")], endless=True)
    bench = Bench(tmp_path, source)
    bench.at(0, lambda: setattr(bench.means, "time_floor_s", 1))
    assert bench.run(getjob_requests=0) == 0
    assert list(source.final) == ["1.1"]
    assert [job["PandaID"] for job in source.jobs] == [2]


def test_the_first_job_is_taken_whatever_the_time_floor(tmp_path: Path) -> None:
    source = DummySource([], endless=True)
    bench = Bench(tmp_path, source)
    bench.at(0, lambda: setattr(bench.means, "time_floor_s", 1))
    bench.at(1.3, lambda: source.jobs.append(shell_job(3, "true")))
    assert bench.run(getjob_requests=0) == 0
    assert list(source.final) == ["3.1"]


def test_the_time_floor_is_the_queues_in_minutes(tmp_path: Path) -> None:
    (tmp_path / "queuedata.json").write_text(json.dumps({"nickname": "Q", "timefloor": 30, "copytools": {"copy": {}}}))
    assert queue_of(Settings(queue="Q"), tmp_path, {}).time_floor_s == 1800
    assert queue_of(Settings(queue="local"), tmp_path / "none", {}).time_floor_s == 0
