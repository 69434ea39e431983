"""The environment a payload gets."""

from __future__ import annotations

import msgspec

from pilot.core.job import JobDefinition
from pilot.runtime.environment import DEFAULT_PATH, Surroundings, payload_environment

JOB = JobDefinition(42, attempt=3, task_id=7)
AROUND = Surroundings("/jobs/42.3", cores=4)
PILOTS = {
    "PATH": "/opt/pilot/.venv/bin:/usr/bin:/bin",
    "VIRTUAL_ENV": "/opt/pilot/.venv",
    "PYTHONPATH": "/opt/pilot",
    "LD_PRELOAD": "x.so",
    "LANG": "C.UTF-8",
    "LC_ALL": "C",
    "USER": "grid",
    "X509_USER_PROXY": "/tmp/proxy",
    "OIDC_AUTH_TOKEN": "/tmp/token",
    "PANDA_AUTH_TOKEN_KEY": "k",
    "https_proxy": "http://proxy:3128",
    "HOME": "/home/grid",
    "TMPDIR": "/tmp/pilot",
    "PILOT_SECRET": "s",
}


def test_only_the_named_variables_of_the_pilot_get_through() -> None:
    env = payload_environment(PILOTS, JOB, AROUND)
    told = {"TZ", "HOME", "TMPDIR", "PWD", "PandaID", "PanDA_AttemptNr", "PanDA_TaskID", "ATHENA_PROC_NUMBER"}
    told |= {"ATHENA_CORE_NUMBER", "PILOT_JOB", "PILOT_WORKDIR", "PILOT_CORES"}
    assert set(env) - told == {"PATH", "LANG", "LC_ALL", "USER"}
    assert (env["HOME"], env["TMPDIR"]) == ("/jobs/42.3", "/jobs/42.3")


def test_the_search_path_is_without_the_pilots_own_environment() -> None:
    assert payload_environment(PILOTS, JOB, AROUND)["PATH"] == DEFAULT_PATH
    around = msgspec.structs.replace(AROUND, environ={"PATH": "/cvmfs/bin:/bin"})
    assert payload_environment(PILOTS, JOB, around)["PATH"] == "/cvmfs/bin:/bin", "a queue knows better"
    assert payload_environment({}, JOB, AROUND)["PATH"] == DEFAULT_PATH


def test_more_gets_through_when_told() -> None:
    around = Surroundings("/w", keep=("X509_USER_PROXY", "http*_proxy"))
    env = payload_environment(PILOTS, JOB, around)
    assert (env["X509_USER_PROXY"], env["https_proxy"]) == ("/tmp/proxy", "http://proxy:3128")
    assert "OIDC_AUTH_TOKEN" not in env


def test_the_job_knows_who_it_is_and_how_many_cores_it_has() -> None:
    env = payload_environment({}, JOB, AROUND)
    assert (env["PandaID"], env["PanDA_TaskID"], env["PanDA_AttemptNr"]) == ("42", "7", "3")
    assert (env["ATHENA_PROC_NUMBER"], env["ATHENA_CORE_NUMBER"], env["TZ"]) == ("4", "4", "UTC")
    assert "PanDA_TaskID" not in payload_environment({}, JobDefinition(1), AROUND)


def test_a_job_sees_the_gpus_it_was_granted_and_no_others() -> None:
    granted = payload_environment({}, JOB, Surroundings("/w", gpus=("1", "3")))
    assert granted["CUDA_VISIBLE_DEVICES"] == "1,3"
    assert payload_environment({}, JOB, Surroundings("/w", gpus=()))["CUDA_VISIBLE_DEVICES"] == ""
    assert "CUDA_VISIBLE_DEVICES" not in payload_environment({}, JOB, Surroundings("/w"))


def test_the_job_wins_over_the_queue_and_the_caller_over_both() -> None:
    around = Surroundings("/w", environ={"TZ": "CET", "SITE_X": "1"}, add={"HOME": "/srv"})
    env = payload_environment({"SITE_X": "0"}, JOB, around)
    assert (env["TZ"], env["SITE_X"], env["HOME"]) == ("UTC", "1", "/srv")
