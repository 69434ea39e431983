"""How jobs and workers of Harvester go together: jumbo jobs that workers share, and workers that ask the server."""

from __future__ import annotations

import json
import subprocess
import tarfile
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from pilot.lib.program import own_command, own_environment
from pilot.plugins.sources.harvester_names import MapType
from tests.bench import shell_job
from tests.harvester_jumbo import jumbo_job
from tests.harvester_real import KINDS, harvester
from tests.harvester_standin import Harvester
from tests.pilots import Site

WAIT_S = 60.0


def worker(ap: Path, *options: str) -> subprocess.Popen[bytes]:
    command = own_command("run", "--source", "harvester", "--harvester-workdir", str(ap), *options)
    command += ["--workdir", str(ap / "work"), "--wait", "0.1"]
    with (ap / "pilot.err").open("wb") as log:
        return subprocess.Popen(command, env=own_environment(), stdout=log, stderr=log, cwd=ap)


def said(ap: Path) -> str:
    return (ap / "pilot.err").read_text()


@pytest.mark.parametrize("kind", KINDS)
def test_workers_of_a_jumbo_job_share_its_ranges_and_tell_of_nothing_else(tmp_path: Path, kind: str) -> None:
    job, ranges = jumbo_job(tmp_path, 2)
    ids = [item["eventRangeID"] for item in ranges]
    workers, pilots = [], []
    with ExitStack() as stack:
        for name in ("w1", "w2"):
            ap = tmp_path / name
            ap.mkdir()
            for lfn in ("a.txt", "b.txt", "c.txt"):  # the fourth has not been brought, and nobody needs it
                (ap / lfn).write_text(lfn)
            fed = stack.enter_context(harvester(kind, ap, MapType.JUMBO))
            fed.ranges, fed.most = ranges, 3
            fed.feed([job])
            workers.append(fed)
        options = ["--harvester-map", "OneToMany", "--harvester-submit-mode", "PUSH", "--worker-id"]
        pilots = [worker(tmp_path / f"w{n}", *options, str(n)) for n in (1, 2)]
        for pilot in pilots:
            stack.callback(pilot.wait)
            stack.callback(pilot.kill)
        codes = [pilot.wait(WAIT_S) for pilot in pilots]
    assert codes == [0, 0], (said(tmp_path / "w1"), said(tmp_path / "w2"))
    done: list[str] = []
    for n, fed in enumerate(workers, 1):
        assert not fed.faults, fed.faults
        entries = fed.entries()
        mine = [entry["eventRangeID"] for entry in entries if entry["type"] == "zip_output"]
        assert mine, said(tmp_path / f"w{n}")
        done += mine
        (log,) = [entry for entry in entries if entry["type"] != "zip_output"]
        assert (log["type"], Path(log["path"]).name) == ("log", f"job.9.log.tgz._{n}")
        assert fed.attributes[9][-1]["jobStatus"] == "finished"
        assert sum(1 for asked in fed.asked if "9" in asked) > 1, "the ranges come in several files"
        for path in {entry["path"] for entry in entries if entry["type"] == "zip_output"}:
            with tarfile.open(path) as tar:
                assert all(member.isfile() for member in tar)
    assert sorted(done) == sorted(ids)


def test_a_worker_that_comes_too_late_for_a_jumbo_job_has_not_failed(tmp_path: Path) -> None:
    ap = tmp_path / "w3"
    ap.mkdir()
    job, _ = jumbo_job(tmp_path, 1)
    with Harvester(ap) as fed:
        fed.feed([job])
        pilot = worker(ap, "--harvester-map", "OneToMany", "--harvester-submit-mode", "PUSH", "--worker-id", "3")
        try:
            assert pilot.wait(WAIT_S) == 0, said(ap)
        finally:
            pilot.kill()
            pilot.wait()
    last = fed.attributes[9][-1]
    assert (last["jobStatus"], last["pilotErrorCode"], last.get("nEvents", 0)) == ("finished", 0, 0)
    assert [Path(entry["path"]).name for entry in fed.entries()] == ["job.9.log.tgz._3"]


def test_a_worker_without_jobs_of_harvester_tells_it_which_ones_the_server_gave(site: Site) -> None:
    first, second = site.submit(shell_job(0, "true"), shell_job(0, "cat ../worker_pandaids.json"))
    ap = site.workdir
    options = ["--source", "harvester", "--harvester-map", "NoJob", "--harvester-workdir", str(ap), "--jobs", "2"]
    assert site.run(*options) == 0, site.log()
    for number in (first, second):
        assert site.told(number)["state"] in ("finished", "transferring", "merging"), site.log()
    assert sorted(json.loads((ap / "worker_pandaids.json").read_text())) == sorted([first, second])
    assert not (ap / "event_status.dump.json").exists() and not (ap / "worker_requestjob.json").exists()
    assert json.loads((ap / "worker_attributes.json").read_text())["jobStatus"] == "finished"
    assert time.time() - (ap / "worker_heartbeat.json").stat().st_mtime < WAIT_S
