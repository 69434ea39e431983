"""A worker's accounting as the PilotDB has it, also of a pilot that was killed."""

from __future__ import annotations

from pathlib import Path

import pytest

from pilot.core.errors import FileHandlingFailure
from pilot.core.facts import Facts
from pilot.core.job import JobDefinition
from pilot.core.lifecycle import Job
from pilot.db.store import Store
from pilot.insight.read import Reader
from pilot.insight.worker import worker_profile


def store_with_a_run(path: Path) -> tuple[Store, int]:
    store = Store(path)
    pilot = store.add_pilot(host="here", cores=4)
    store.add_job(JobDefinition(7), Job("7.1"), Facts(), "/nowhere", pilot)
    store.begin_run("7.1", 1, pilot, 2)
    return store, pilot


def test_a_killed_pilot_is_charged_what_its_payloads_were_seen_to_use(tmp_path: Path) -> None:
    store, pilot = store_with_a_run(tmp_path / "pilot.db")
    store.end_run("7.1", 1, 3.5)
    store.add_pilot(host="here", cores=4)
    store.begin_run("7.1", 2, pilot + 1, 2)
    reader = Reader(tmp_path / "pilot.db")
    first = worker_profile(reader, pilot)
    assert first["worker"]["cpu_s"] == 3.5 and not first["worker"]["cpu_told"]
    assert [(one["key"], one["cpu_s"], one["runs"]) for one in first["jobs"]] == [("7.1", 3.5, 1)]
    assert worker_profile(reader)["worker"]["pilot"] == pilot + 1, "the last one, unless a number is named"
    reader.close()
    store.close()


def test_what_the_pilot_itself_used_is_part_of_the_whole(tmp_path: Path) -> None:
    store, pilot = store_with_a_run(tmp_path / "pilot.db")
    store.end_run("7.1", 1, 3.5)
    store.end_pilot(pilot, 0, 5.0)
    reader = Reader(tmp_path / "pilot.db")
    told = worker_profile(reader, pilot)
    (job,) = told["jobs"]
    assert told["worker"]["cpu_told"] and job["cpu_measured_s"] == 3.5
    assert job["cpu_s"] + told["idle"]["cpu_s"] == pytest.approx(5.0) and job["cpu_s"] > 3.5
    with pytest.raises(FileHandlingFailure, match="no pilot 9"):
        worker_profile(reader, 9)
    reader.close()
    store.close()


def test_a_pilot_without_jobs_was_idle(tmp_path: Path) -> None:
    store = Store(tmp_path / "pilot.db")
    store.end_pilot(store.add_pilot(host="here", cores=2), 0, 0.25)
    reader = Reader(tmp_path / "pilot.db")
    told = worker_profile(reader)
    assert told["jobs"] == [] and told["idle"]["cpu_s"] == 0.25
    reader.close()
    store.close()
