"""The pilot as a Slurm job: what it was granted is what it uses, and a warned or cancelled batch job loses nothing."""

import contextlib
import re
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.bench import patience, shell_job
from tests.pilots import Site, assert_reported_once
from tests.system.pyz import ROOT
from tests.system.services.process import PATH

EXAMPLES = re.findall(r"```bash\n(.*?)```", (ROOT / "docs" / "batch.md").read_text(), re.DOTALL)
#: The fixture's Slurm waits 5 s between SIGTERM and SIGKILL.
HASTY = {"PILOT_KILL_AFTER": "1", "PILOT_GRACE": "4"}


@dataclass
class Batch:
    """Batch jobs that run pilots of one site."""

    site: Site
    env: dict[str, str]
    jobs: dict[str, "subprocess.Popen[str]"] = field(default_factory=dict)

    def submit(self, script: str, *options: str, **environment: str) -> str:
        """Submit a script; the batch job's id."""
        file = self.site.folder / "batch.sh"
        file.write_text(script if script.startswith("#!") else "#!/bin/sh\n" + script)
        line = ["sbatch", "--wait", "--parsable", f"--chdir={self.site.folder}", f"--output={self.log_file}", *options]
        waiting = subprocess.Popen(
            [*line, str(file)], env=self.env | environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert waiting.stdout is not None
        number = waiting.stdout.readline().strip().partition(";")[0]
        assert number.isdigit(), waiting.communicate()
        self.jobs[number] = waiting
        return number

    def exit_code(self, number: str, seconds: float = 60.0) -> int:
        """Wait for the end of a batch job."""
        self.jobs[number].communicate(timeout=seconds)
        return self.jobs[number].returncode

    def signal(self, number: str, *how: str) -> None:
        """`scancel`; without more words SIGTERM to all processes of the batch job, SIGKILL five seconds later."""
        subprocess.run(["scancel", *how, number], env=self.env, check=True, timeout=20)

    @property
    def log_file(self) -> Path:
        return self.site.folder / "slurm.out"

    def log(self) -> str:
        """What the batch job printed."""
        return self.log_file.read_text()

    def end(self) -> None:
        for number, waiting in self.jobs.items():
            if waiting.poll() is None:
                line = ["scancel", "--quiet", "--full", "--signal=KILL", number]  # it may have ended by itself
                subprocess.run(line, env=self.env, check=False, capture_output=True, timeout=20)
                waiting.kill()
            waiting.communicate()


@pytest.fixture
def batch(slurm: dict[str, Any], site: Site, pyz: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Batch]:
    unpacked = tmp_path_factory.getbasetemp() / "unpacked"
    env = {
        "PATH": PATH,
        "PILOT_PYZ_ROOT": str(unpacked),
        "PILOT_PYZ": str(pyz),
        "PILOT_URL": site.url,
        "PILOT_QUEUE": site.queue,
        "PILOT_WORKDIR": str(site.workdir),
        "PILOT_OUTPUT_DIR": str(site.outputs),
        "PILOT_WAIT": "0.2",
        "PILOT_LEAST_TIME": "10",
        **slurm["env"],
    }
    made = Batch(site, env)
    yield made
    made.end()


def saved(site: Site, name: str) -> str:
    """A file in the job's log archive."""
    (archive,) = site.outputs.glob("*.log.tgz")
    with tarfile.open(archive) as tar:
        (member,) = [m for m in tar.getmembers() if m.name.endswith("/" + name)]
        found = tar.extractfile(member)
        assert found is not None
        return found.read().decode()


def assert_gone(batch: Batch, number: str) -> None:
    """No process of the batch job is left, nor of its payloads."""
    batch.site.assert_nothing_left()
    mark = f"\0SLURM_JOB_ID={number}\0".encode()
    cluster = f"\0SLURM_CONF={batch.env['SLURM_CONF']}\0".encode()

    def left() -> list[str]:
        found = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                environment = b"\0" + (entry / "environ").read_bytes() if entry.name.isdigit() else b""
                if mark in environment and cluster in environment:
                    found.append((entry / "cmdline").read_text())
        return found

    assert patience(lambda: not left()), left()


def test_a_batch_job_uses_what_it_was_granted_and_tells_its_id_and_its_end(batch: Batch) -> None:
    site = batch.site
    alone = "[ ! -e ../busy ] || exit 9; touch ../busy; sleep 0.5; rm ../busy"
    large = site.submit(shell_job(0, "true", minRamCount=700))[0]
    long = site.submit(shell_job(0, "true", maxWalltime=300))[0]
    first, second = site.submit(shell_job(0, alone, maxWalltime=60), shell_job(0, alone, minRamCount=500))
    limits = ("--cpus-per-task=1", "--mem=600", "--time=5", "--signal=B:USR1@10")
    number = batch.submit(EXAMPLES[0], *limits, PILOT_GETJOB_REQUESTS="1", PILOT_WORKDIR=str(site.workdir))
    assert batch.exit_code(number) == 0, batch.log()
    for job in (first, second):
        told = assert_reported_once(site, job, "finished")
        assert told["batch_id"] == number
        assert told["facts"]["pilot_id"].split("|")[:2] == ["unknown", "SLURM"]
    assert site.told(large)["state"] == site.told(long)["state"] == "activated"
    assert f"SLURM job {number}, 1 cores, 600 MB of memory" in batch.log()
    ends = re.search(r"the batch job ends in (\d+) s; jobs are stopped (\d+) s before", batch.log())
    assert ends and 200 <= int(ends[1]) <= 300
    assert abs(int(ends[2]) - int(ends[1]) / 4) <= 1, "a quarter of what is left, each rounded by itself"
    assert_gone(batch, number)


WARNED = "trap 'echo told to end; touch ../told; exit 0' TERM; echo words; touch ../began; sleep 90 & wait"


@pytest.mark.parametrize("way", ["by Slurm, to the pilot itself", "by hand, through a shell"])
def test_the_warning_before_the_time_limit_ends_in_a_saved_and_reported_job(batch: Batch, way: str) -> None:
    """Slurm looks at its time limits every 30 s only; `scancel --batch` sends what `--signal=B:` does at once."""
    site = batch.site
    job = site.shell(WARNED)
    limits = ("--cpus-per-task=1", "--mem=600", "--time=1", "--signal=B:USR1@50")
    if way.startswith("by Slurm"):
        number = batch.submit(EXAMPLES[0], *limits, PILOT_END_MARGIN="0")
    else:
        number = batch.submit(EXAMPLES[1], "--ntasks=1", "--mem=600", "--time=3")
        site.wait_for(lambda: (site.workdir / "began").exists(), 30)
        batch.signal(number, "--batch", "--signal=USR1")
    assert batch.exit_code(number, 90) == 138, batch.log()
    told = assert_reported_once(site, job, "failed")
    assert told["errors"]["pilot_error_code"] == 1207
    assert "told to end by SIGUSR1" in told["errors"]["pilot_error_diag"]
    assert (site.workdir / "told").exists()
    assert saved(site, "payload.stdout") == "words\ntold to end\n"
    assert "SIGUSR1" in saved(site, "pilot.log")
    assert_gone(batch, number)


@pytest.mark.parametrize(
    "script",
    [
        "echo words; touch ../began; exec sleep 90",
        "trap '' TERM; echo words; touch ../began; while :; do sleep 90; done",
    ],
    ids=["a payload that dies at once", "a payload that ignores SIGTERM"],
)
def test_a_cancelled_batch_job_is_reported_before_it_is_killed(batch: Batch, script: str) -> None:
    site = batch.site
    job = site.shell(script)
    number = batch.submit(EXAMPLES[0], "--cpus-per-task=1", "--mem=600", "--time=3", **HASTY)
    site.wait_for(lambda: (site.workdir / "began").exists(), 30)
    batch.signal(number)
    site.wait_for(lambda: site.ask("status")["pilots"][-1]["ended"], 30)
    told = assert_reported_once(site, job, "failed")
    assert told["errors"]["pilot_error_code"] == 1201, batch.log()
    assert saved(site, "payload.stdout") == "words\n"
    assert site.ask("status")["pilots"][-1]["exit_code"] == 143
    assert_gone(batch, number)
