"""Variables that an experiment's file gives to its payloads."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from pilot.cli.containers import payload_variables
from pilot.core.job import InputFile, JobDefinition
from pilot.runtime.environment import Surroundings, payload_environment
from pilot.runtime.experiment import Release, Variables
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


@pytest.mark.parametrize(
    ("homepackage", "release", "names"),
    [
        ("AthSimulation/22.0.34", "Atlas-22.0.34", "AthSimulation,22.0.34"),
        ("AnalysisTransforms-AnalysisBase_24.2.1", "", "AnalysisBase,24.2.1"),
        ("AnalysisTransforms", "Atlas-17.2.7", "17.2.7"),
    ],
)
def test_a_release_is_set_up_as_the_job_names_it(homepackage: str, release: str, names: str) -> None:
    rules = payload_variables("atlas").release
    job = JobDefinition(1, homepackage=homepackage, release=release, platform="x86_64-el9")
    line = rules.setup(job)[-1]
    assert f'/asetup.sh" {names},notest ' in line and line.endswith(" --platform x86_64-el9")
    assert rules.setup(msgspec.structs.replace(job, platform=""))[-1].endswith('--makeflags="$MAKEFLAGS"')


@pytest.mark.parametrize("named", ["", "NULL", "x/1; rm -rf ~", "$(id)/1", "AnalysisTransforms"])
def test_a_job_that_names_no_release_has_none_set_up(named: str) -> None:
    rules = payload_variables("atlas").release
    assert rules.setup(JobDefinition(1, homepackage=named, release=named)) == ()
    assert rules.setup(JobDefinition(1, homepackage="Athena/25.0.1", complete_command=True)) == ()


def test_users_jobs_of_the_experiment_compile_on_their_own_cores_and_are_given_no_tokens() -> None:
    rules = payload_variables("atlas")
    job = JobDefinition(1, transformation="https://host/run", cores=4)
    assert rules.of(job)["MAKEFLAGS"].startswith("-j4 ")
    queues = {"RUCIO_ACCOUNT": "pilot", "PANDA_AUTH_TOKEN": "/t", "BEARER_TOKEN_FILE": "/t", "MINE": "1"}
    around = Surroundings("/w", environ=queues, withheld=rules.withheld_from(job))
    assert {"MINE": "1"}.items() == {
        n: v for n, v in payload_environment({}, job, around).items() if n in queues
    }.items()
    central = JobDefinition(1, transformation="Sim_tf.py")
    assert "MAKEFLAGS" not in rules.of(central) and "PANDA_AUTH_*" not in rules.withheld_from(central)


def test_a_payload_without_an_image_of_its_own_has_its_release_set_up_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pilot.plugins.sources.dummy import DummySource

    rules = Variables(release=Release(names=("(.*)/(.*)",), lines=("export GOT=@names@", "[ $GOT != Bad,1 ]")))
    monkeypatch.setattr("pilot.cli.run.payload_variables", lambda experiment: rules)
    jobs = [shell_job(1, '[ "$GOT" = Good,1 ]', homepackage="Good/1"), shell_job(2, "true", homepackage="Bad/1")]
    bench = Bench(tmp_path, DummySource(jobs))
    assert bench.run() == 0
    assert (bench.final(1).state, bench.final(2).state) == ("finished", "failed")
