"""Jobs of many kinds, pilots of several bearers, a pilot that dies: real PanDA servers see each job's end."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from msgspec.structs import replace

from pilot.core.errors import PilotError
from pilot.plugins.sources.base import Capacity
from pilot.plugins.sources.panda import PandaSource
from pilot.plugins.sources.panda_credentials import PandaCredentials
from pilot.plugins.sources.panda_settings import DialectName, PandaSettings
from tests.system.panda_site import PandaSite

STEPS = {
    "preprocess": {"command": "/bin/sh", "args": "-c 'echo before > pre.txt'"},
    "postprocess": {"command": "/bin/sh", "args": "-c 'echo after >> steps.txt'"},
}
SECRET = "planted-in-the-server"


def test_jobs_of_every_kind_come_to_their_end(panda_site: PandaSite) -> None:
    panda_site.change(
        f"DELETE FROM Secrets; INSERT INTO Secrets (owner, data) VALUES ('somebody', '{json.dumps({'KEY': SECRET})}')"
    )
    steps = f"-c 'cat pre.txt > steps.txt'<MULTI_STEP_EXEC>{json.dumps(STEPS)}</MULTI_STEP_EXEC>"
    good = [
        *panda_site.submit("", jobParameters=steps, outputs=("steps.txt",)),
        *panda_site.submit("echo one > coded.txt; echo two >> coded.txt", specialHandling="ej", outputs=("coded.txt",)),
        *panda_site.submit("", transformation="date", jobParameters="-u +%Y > whole.txt", outputs=("whole.txt",)),
        *panda_site.submit("for n in 1 22; do echo $n > h_$n.root; done", outputs=(r"regex|h_\d{1,2}\.root",)),
        *panda_site.submit("cat panda_secrets.json > told.txt", specialHandling="us", outputs=("told.txt",)),
    ]
    (bad,) = panda_site.submit("echo oops >&2; exit 7")
    assert panda_site.run("--slots", "3", "--cleanup", "none") == 0, panda_site.log()
    panda_site.conclude()
    assert [panda_site.job(number)["jobstatus"] for number in good] == ["finished"] * 5, panda_site.log()
    written = {path.name: path.read_text() for path in panda_site.outputs.iterdir() if path.suffix in (".txt", ".root")}
    assert (written["steps.txt"], written["coded.txt"]) == ("before\nafter\n", "one\ntwo\n")
    assert (written["h_1.root"], written["h_22.root"], SECRET in written["told.txt"]) == ("1\n", "22\n", True)
    failed = panda_site.job(bad)
    assert (failed["jobstatus"], failed["transexitcode"]) == ("failed", "7") and failed["piloterrorcode"] == 1305
    records = [
        path for path in panda_site.workdir.rglob("*") if path.is_file() and path.suffix in (".db", ".json", ".log")
    ]
    kept = [path for path in records if SECRET in path.read_text(errors="replace")]
    assert {path.name for path in kept} <= {"panda_secrets.json"} and SECRET not in panda_site.log()


def test_a_worker_with_a_proxy_of_a_plain_user_runs_that_users_jobs(panda_site: PandaSite) -> None:
    panda_site.change(
        """
        DELETE FROM Harvester_Instances; INSERT INTO Harvester_Instances (harvester_ID) VALUES ('hv');
        DELETE FROM Harvester_Workers; INSERT INTO Harvester_Workers (harvesterID, workerID, status)
            VALUES ('hv', 5, 'submitted');
        """
    )
    (number,) = panda_site.submit("date > out.txt", prodSourceLabel="user")
    worker = ("--harvester-id", "hv", "--worker-id", "5", "--scheduler-id", "harvester-hv")
    assert panda_site.run("--proxy", panda_site.pki["voms_proxy"], "--label", "user", *worker) == 0, panda_site.log()
    panda_site.conclude()
    job = panda_site.job(number)
    assert (job["jobstatus"], job["schedulerid"]) == ("finished", "harvester-hv"), panda_site.log()
    (told,) = panda_site.rows("SELECT * FROM Harvester_Workers")
    assert (told["status"], told["pilotstatus"]) == ("running", "finished") and told["pilotstarttime"]
    assert {"pandaid": number, "workerid": 5}.items() <= panda_site.rows(
        f"SELECT * FROM Harvester_Rel_Jobs_Workers WHERE PandaID = {number}"
    )[0].items()


def test_a_pilot_after_a_dead_one_brings_its_job_to_the_end(panda_site: PandaSite) -> None:
    (number,) = panda_site.submit("if mkdir ../first; then sleep 600; fi; date > out.txt")
    pilot = panda_site.start("--heartbeat", "0.5")
    panda_site.wait(lambda: panda_site.job(number)["jobstatus"] == "running", "running")
    panda_site.wait((panda_site.workdir / "first").exists, "begun")
    pilot.kill()
    pilot.wait()
    assert panda_site.run() == 0, panda_site.log()
    panda_site.conclude()
    assert panda_site.job(number)["jobstatus"] == "finished", panda_site.log()


NVML = """
NVML_CLOCK_SM = 1
class NVMLError(Exception): pass
class Memory: total, used = 143771 << 20, 0
def __getattr__(name):
    said = {"Count": 1, "HandleByIndex": 0, "Name": "NVIDIA H200", "CudaComputeCapability": (9, 0),
            "MemoryInfo": Memory, "MaxClockInfo": 1980, "UUID": "GPU-a"}
    system = {"nvmlInit": None, "nvmlSystemGetDriverVersion": "550.54.15", "nvmlSystemGetCudaDriverVersion": 12040}
    def ask(*words):
        if name in system: return system[name]
        if name[13:] in said: return said[name[13:]]
        raise NVMLError(name)
    if name.startswith("nvml"): return ask
    raise AttributeError(name)
"""


@pytest.mark.parametrize("panda_site", ["1.0-auto"], indirect=True)
def test_a_pilot_with_a_gpu_gets_only_jobs_for_such_a_one(
    panda_site: PandaSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "library").mkdir()
    (tmp_path / "library/pynvml.py").write_text(NVML)
    (tmp_path / "nvidia-smi").touch(mode=0o755)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "library"))
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    wants = {901: "model=A100.*", 902: "model=H200:vram>=80000:cuda>=12.2:driver>=550:uarch=Hopper", 903: "cuda>=12.5"}
    panda_site.change(
        "DELETE FROM JEDI_Tasks WHERE jediTaskID IN (901, 902, 903); INSERT INTO JEDI_Tasks (jediTaskID, architecture) "
        f"VALUES {', '.join(f'({task}, $$x86_64-el9&nvidia:{gpu}$$)' for task, gpu in wants.items())};"
    )
    numbers = {task: panda_site.submit("date > out.txt", jediTaskID=task)[0] for task in wants}
    assert panda_site.run() == 0, panda_site.log()
    panda_site.conclude()
    found = {task: panda_site.job(number)["jobstatus"] for task, number in numbers.items()}
    assert found == {901: "activated", 902: "finished", 903: "activated"}, panda_site.log()


def test_keys_are_given_to_who_may_have_them(panda_site: PandaSite) -> None:
    settings = PandaSettings(
        url=panda_site.server["url"],
        queue=panda_site.server["queue"],
        dialect=DialectName(panda_site.dialect),
        ca_file=panda_site.pki["ca"],
        proxy=str(panda_site.certificate),
    )
    credentials = PandaCredentials(settings)
    assert credentials.key_pair("public", "private") == ("public-half", "private-half")
    assert credentials.token_key() == "key-of-the-pilot"
    with pytest.raises(PilotError, match="missing"):
        credentials.key_pair("public", "none")
    credentials.close()
    (number,) = panda_site.submit("date")
    source = PandaSource(replace(settings, want_proxy_key=True))
    (job,) = source.acquire(Capacity(jobs=1)).jobs
    source.close()
    assert str(job["PandaID"]) == str(number) and {"credname", "myproxy"} <= job.keys()
