"""Variables that an experiment's file gives to its payloads."""

from __future__ import annotations

from pathlib import Path

import pytest

from pilot.cli.containers import payload_variables
from pilot.core.job import InputFile, JobDefinition
from pilot.runtime.experiment import Variables
from tests.bench import Bench, shell_job

INPUTS = (InputFile("a", dataset="x:one"), InputFile("b", dataset="x:two"), InputFile("c", dataset="x:one"))


def test_what_the_job_is_is_put_in_and_what_it_is_not_left_out() -> None:
    rules = Variables({"ID": "[@task@_@job@.@attempt@]", "IN": "@datasets@", "APP": "@processing@", "ODD": "a@b@c"})
    job = JobDefinition(7, attempt=2, task_id=5, inputs=INPUTS, processing_type="simul")
    assert rules.of(job) == {"ID": "[5_7.2]", "IN": "x:one,x:two", "APP": "simul", "ODD": "a@b@c"}
    assert rules.of(JobDefinition(7)) == {"ODD": "a@b@c"}


def test_users_jobs_have_more() -> None:
    rules = Variables({"A": "1"}, {"B": "@cores@"})
    assert rules.of(JobDefinition(1, transformation="https://host/run", cores=8)) == {"A": "1", "B": "8"}
    assert rules.of(JobDefinition(1, transformation="Sim_tf.py")) == {"A": "1"}


def test_the_rules_that_come_with_the_program_are_understood() -> None:
    assert payload_variables("generic") == Variables()
    found = payload_variables("atlas").of(JobDefinition(7, task_id=5, inputs=INPUTS, processing_type="simul"))
    assert found["FRONTIER_ID"] == found["CMSSW_VERSION"] == "[5_7]"
    assert (found["INDS"], found["RUCIO_APPID"]) == ("x:one,x:two", "simul")
    assert "ROOTCORE_NCPUS" not in found and "RUCIO_ACCOUNT" not in found


def test_a_payload_finds_them_in_its_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pilot.plugins.sources.dummy import DummySource

    rules = Variables({"WHO": "@task@/@job@"})
    monkeypatch.setattr("pilot.cli.run.payload_variables", lambda experiment: rules)
    bench = Bench(tmp_path, DummySource([shell_job(1, '[ "$WHO" = 9/1 ]', taskID=9)]))
    assert bench.run() == 0
    assert bench.final(1).state == "finished"
