"""Workers as Harvester submits them to Slurm: its placeholders in the templates of docs/harvester.md."""

from __future__ import annotations

import contextlib
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pilot.plugins.sources.harvester_names import MapType
from tests.bench import patience, shell_job
from tests.harvester_jumbo import jumbo_job
from tests.harvester_real import KINDS, harvester, usual
from tests.system.pyz import ROOT
from tests.system.services.process import PATH

ONE_JOB, MANY_JOBS, JUMBO_JOB = re.findall(
    r"```bash\n(.*?)```", (ROOT / "docs" / "harvester.md").read_text(), re.DOTALL
)
WAIT_S = 150.0
#: A payload does not see the batch system's variables, but its pilot does.
OF_PILOT = "tr '\\0' '\\n' < /proc/$PPID/environ | sed -n s/^{}=//p"


class Placeholders(dict[str, Any]):
    """What Harvester puts into a template; braces with other words in them are left alone."""

    def __missing__(self, key: str) -> str:
        return "{" + key + "}"


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def ap(tmp_path: Path) -> Path:
    made = tmp_path / "4"
    made.mkdir()
    return made


@pytest.fixture
def slurm_env(slurm: dict[str, Any], pyz: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    unpacked = tmp_path_factory.getbasetemp() / "unpacked"
    return {"PATH": PATH, "PILOT_PYZ_ROOT": str(unpacked), "PILOT_PYZ": str(pyz), **slurm["env"]}


@contextlib.contextmanager
def batch_job(template: str, ap: Path, nodes: int, env: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """The batch job that Harvester makes of the template; it ends with the job's exit code."""
    filled = {"nNode": nodes, "nCorePerNode": 1, "accessPoint": ap, "workerID": 4, "harvesterID": "test"}
    script = ap / "tmp_submit.sh"
    script.write_text(template.format_map(Placeholders(filled)))
    line = ["sbatch", "--wait", "-D", str(ap), str(script)]
    waiting = subprocess.Popen(line, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        yield waiting
    finally:
        subprocess.run(["scancel", "--quiet", "--name=worker_4"], env=env, check=False, timeout=WAIT_S)
        waiting.communicate(timeout=WAIT_S)


def submitted(template: str, ap: Path, nodes: int, env: dict[str, str]) -> int:
    """The exit code of the batch job, once it has ended."""
    with batch_job(template, ap, nodes, env) as waiting:
        return waiting.wait(WAIT_S)


def said(ap: Path) -> str:
    return (ap / "pilot_stderr.txt").read_text()


def test_a_worker_runs_the_job_that_harvester_pushed(ap: Path, kind: str, slurm_env: dict[str, str]) -> None:
    with harvester(kind, ap, slow_s=0.2) as fed:
        fed.feed([usual(shell_job(7, OF_PILOT.format("SLURM_JOB_ID") + " > out.txt", outputs=("out.txt",)))])
        assert submitted(ONE_JOB, ap, 1, slurm_env) == 0, said(ap)
    assert not fed.faults, fed.faults
    last = fed.attributes[7][-1]
    assert last["jobStatus"] == "finished" and last["batchID"] == (ap / "out.txt").read_text().strip()
    assert [entry["type"] for entry in fed.entries()] == ["output", "log"]


def test_a_worker_runs_many_jobs_on_several_nodes(ap: Path, kind: str, slurm_env: dict[str, str]) -> None:
    numbers = (11, 12)
    with harvester(kind, ap, MapType.MANY, slow_s=0.2) as fed:
        jobs = [
            shell_job(n, OF_PILOT.format("SLURMD_NODENAME") + f" > out.{n}.txt", outputs=(f"out.{n}.txt",))
            for n in numbers
        ]
        fed.feed([usual(job) for job in jobs])
        assert submitted(MANY_JOBS, ap, 2, slurm_env) == 0, said(ap)
    assert not fed.faults, fed.faults
    assert [fed.attributes[n][-1]["jobStatus"] for n in numbers] == ["finished", "finished"], said(ap)
    places = [(ap / str(n) / f"out.{n}.txt").read_text() for n in numbers]
    assert len(set(places)) == 2, places
    assert (ap / "worker_heartbeat.json").exists()


def test_a_worker_of_a_jumbo_job_has_a_pilot_on_each_of_its_nodes(
    ap: Path, kind: str, slurm_env: dict[str, str]
) -> None:
    job, ranges = jumbo_job(ap.parent, 2)
    wanted = Counter(item["eventRangeID"] for item in ranges)
    for lfn in ("a.txt", "b.txt", "c.txt"):
        (ap / lfn).write_text(lfn)
    with harvester(kind, ap, MapType.JUMBO, slow_s=0.2) as fed:
        fed.ranges, fed.most = ranges, 3
        fed.feed([job])
        assert submitted(JUMBO_JOB, ap, 2, slurm_env) == 0, said(ap)
    assert not fed.faults, fed.faults
    assert Counter(entry["eventRangeID"] for entry in fed.updates) == wanted, said(ap)
    entries = fed.entries()
    logs = {Path(entry["path"]).name for entry in entries if entry["type"] == "log"}
    assert logs == {"job.9.log.tgz._4.0", "job.9.log.tgz._4.1"}
    assert Counter(entry["eventRangeID"] for entry in entries if entry["type"] == "zip_output") == wanted


def test_a_batch_job_without_a_job_fails(ap: Path, slurm_env: dict[str, str]) -> None:
    assert submitted(ONE_JOB, ap, 1, slurm_env | {"PILOT_HARVESTER_PATIENCE": "1"}) == 82, said(ap)


def test_a_worker_that_is_warned_saves_what_there_is(ap: Path, kind: str, slurm_env: dict[str, str]) -> None:
    """Slurm looks at its time limits every 30 s only; this is the signal that it then sends to all steps."""
    with harvester(kind, ap, slow_s=0.2) as fed:
        fed.feed([usual(shell_job(7, "trap '' USR1; echo words; touch ../../began; sleep 100"))])
        with batch_job(ONE_JOB, ap, 1, slurm_env) as waiting:
            assert patience((ap / "began").exists, WAIT_S), said(ap)
            warned = ["scancel", "--signal=USR1", "--name=worker_4"]
            subprocess.run(warned, env=slurm_env, check=True, timeout=WAIT_S)
            assert waiting.wait(WAIT_S) == 138, said(ap)
    last = fed.attributes[7][-1]
    assert (last["jobStatus"], last["pilotErrorCode"]) == ("failed", 1207)
    assert [entry["type"] for entry in fed.entries()] == ["log"] and not fed.faults
