"""Workers without any network, side by side with Harvester: its own messenger where it is at hand, else the stand-in.

Every pilot runs in a network namespace that has not even a loopback device: what it does, it does by files alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pilot.lib.program import own_command, own_environment
from pilot.plugins.sources.harvester_names import MapType
from tests.bench import patience, shell_job
from tests.harvester_real import KINDS, PLACE, harvester, usual
from tests.harvester_standin import Harvester

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 and not os.environ.get("CI"), reason="only root may make a network namespace"
)
WAIT_S = 90.0
#: Works through ranges until there are none; every fifth one fails.
PAYLOAD = """
import time
from pilot.events import ranges
for r in ranges():
    time.sleep(0.05)
    if r.start_event % 5 == 0:
        r.failed("the fifth")
        continue
    with open(f"{r.id}.txt", "w") as out:
        out.write(open(r.path).read())
    r.done(f"{r.id}.txt")
"""


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@contextlib.contextmanager
def worker(ap: Path, *options: str, work: str = "work") -> Iterator[subprocess.Popen[bytes]]:
    """A pilot beside that access point, offline."""
    command = own_command("run", "--source", "harvester", "--harvester-workdir", str(ap), *options)
    command = ["unshare", "--net", *command, "--workdir", str(ap.parent / work)]
    with said_by(ap, work).open("wb") as log:
        pilot = subprocess.Popen(command, env=own_environment(), stdout=log, stderr=log, cwd=ap)
    try:
        yield pilot
    finally:
        pilot.kill()
        pilot.wait()


def said_by(ap: Path, work: str = "work") -> Path:
    return ap.parent / f"{work}.log"


def run(ap: Path, *options: str, expected: int = 0) -> None:
    with worker(ap, *options) as pilot:
        assert pilot.wait(WAIT_S) == expected, said_by(ap).read_text()


@pytest.fixture
def ap(tmp_path: Path) -> Path:
    made = tmp_path / "ap"
    made.mkdir()
    return made


def job(number: int, script: str, **more: Any) -> dict[str, Any]:
    return usual(shell_job(number, script, outputs=(f"out.{number}.txt",), **more))


def assert_well(fed: Harvester, number: int, state: str) -> None:
    """Harvester has found nothing odd, and knows how the job ended."""
    assert not fed.faults, fed.faults
    assert fed.attributes[number][-1]["jobStatus"] == state
    if (known := getattr(fed, "state", None)) is not None:
        assert known[number] == state


def event_job(folder: Path, count: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    script = folder / "payload.py"
    script.write_text(PAYLOAD)
    described = job(9, f"exec {shlex.join([sys.executable, str(script)])}", eventService="True", taskID=5, jobsetID=6)
    described = usual({**described, "inFiles": "in.root", "scopeIn": "s", "GUID": "G", "realDatasetsIn": "d"})
    where = {"LFN": "in.root", "GUID": "G", "scope": "s"}
    numbers = range(1, count + 1)
    return described, [{"eventRangeID": f"5-9-1-{n}-1", "startEvent": n, "lastEvent": n, **where} for n in numbers]


def test_a_pulled_job_and_the_next_are_told_by_files_alone(ap: Path, kind: str) -> None:
    with harvester(kind, ap, slow_s=0.3) as fed:
        fed.jobs += [job(7, "ip link 2>/dev/null; cat /proc/net/dev > out.7.txt"), job(8, "exit 3")]
        run(ap, "--jobs", "2", "--harvester-kill", "true")
    assert_well(fed, 8, "failed")
    assert not [line for line in (ap / "out.7.txt").read_text().splitlines()[2:] if not line.strip().startswith("lo:")]
    assert [asked["nJobs"] for asked in fed.asked] == [1, 1]
    listed = [(Path(entry["path"]).name, entry["type"]) for entry in fed.entries()]
    assert listed == [("out.7.txt", "output"), ("job.7.log.tgz", "log"), ("job.8.log.tgz", "log")]
    final = [told for told in fed.told if told["jobStatus"] in ("finished", "failed")]
    assert {told["transExitCode"] for told in final} == {0, 3}
    assert (ap / "kill_worker.json").exists() and (ap / "worker_heartbeat.json").exists()


def test_event_ranges_that_succeed_and_that_fail_are_each_told_once(ap: Path, kind: str) -> None:
    (ap / "in.root").write_text("events" * 30_000)
    with harvester(kind, ap, slow_s=0.4) as fed:
        described, fed.ranges = event_job(ap.parent, 60)
        fed.jobs.append(described | {"zipPerMB": 1})
        run(ap, "--jobs", "1")
    assert_well(fed, 9, "finished")
    told = [(entry["eventRangeID"], entry["eventStatus"]) for entry in fed.updates]
    wanted = {f"5-9-1-{n}-1": "failed" if n % 5 == 0 else "finished" for n in range(1, 61)}
    assert Counter(told) == Counter(wanted.items())
    zips = [entry for entry in fed.entries() if entry["type"] == "zip_output"]
    assert sorted(e["eventRangeID"] for e in zips) == sorted(
        name for name, word in wanted.items() if word == "finished"
    )
    assert len({entry["path"] for entry in zips}) > 1, "they are told in several lists"
    assert [entry["type"] for entry in fed.entries() if entry["type"] != "zip_output"] == ["log"]
    assert fed.attributes[9][-1]["nEvents"] == 48


def test_event_ranges_are_told_once_when_the_pilot_is_killed_between(ap: Path, kind: str) -> None:
    (ap / "in.root").write_text("events" * 30_000)
    with harvester(kind, ap, slow_s=0.2) as fed:
        described, fed.ranges = event_job(ap.parent, 120)
        fed.jobs.append(described | {"zipPerMB": 1})
        with worker(ap, "--jobs", "1") as pilot:
            assert patience(lambda: len(fed.updates) > 5, WAIT_S), said_by(ap).read_text()
            os.kill(pilot.pid, signal.SIGKILL)
            pilot.wait()
        run(ap, "--jobs", "1")
    assert_well(fed, 9, "finished")
    finished = Counter(entry["eventRangeID"] for entry in fed.updates if entry["eventStatus"] == "finished")
    assert len(finished) == 96 and set(finished.values()) == {1}, finished.most_common(3)


def test_many_jobs_of_one_worker_run_in_their_own_directories(ap: Path, kind: str) -> None:
    numbers = (11, 12, 13)
    with harvester(kind, ap, MapType.MANY) as fed:
        fed.feed([job(number, f"echo {number} > out.{number}.txt") for number in numbers])
        run(ap, "--harvester-map", "ManyToOne", "--harvester-submit-mode", "PUSH", "--slots", "2")
    for number in numbers:
        assert_well(fed, number, "finished")
        assert (ap / str(number) / f"out.{number}.txt").read_text() == f"{number}\n"
    assert sorted(key for _, dump in fed.dumps for key in dump) == ["11", "12", "13"]
    assert not fed.asked


def test_pilots_that_are_started_for_single_jobs_of_a_worker_show_that_it_is_alive(ap: Path, kind: str) -> None:
    """A batch script may start a pilot for each job, in the job's sub-directory; Harvester looks for the beat above."""
    with harvester(kind, ap, MapType.MANY) as fed, contextlib.ExitStack() as stack:
        fed.feed([job(number, f"echo {number} > out.{number}.txt") for number in (11, 12)])
        pilots = [
            stack.enter_context(worker(ap / str(number), "--harvester-submit-mode", "PUSH", work=f"work{number}"))
            for number in (11, 12)
        ]
        assert [pilot.wait(WAIT_S) for pilot in pilots] == [0, 0]
    for number in (11, 12):
        assert_well(fed, number, "finished")
        assert not (ap / str(number) / "worker_heartbeat.json").exists()
    assert (ap / "worker_heartbeat.json").exists()


def test_the_options_of_wrappers_on_supercomputers_are_enough(ap: Path, kind: str) -> None:
    line = (
        "-s Q -r Q -q Q -j managed -i PR -t -w generic --pilot-user=atlas --hpc-resource cori --use-https False -d "
        f"--harvester-submit-mode=PUSH --harvester-workdir={ap} --allow-same-user=False --resource-type MCORE -z"
    )
    with harvester(kind, ap) as fed:
        fed.feed([job(7, "echo 7 > out.7.txt")])
        command = ["unshare", "--net", *own_command("run", *line.split())]
        done = subprocess.run(command, env=own_environment(), cwd=ap, timeout=WAIT_S, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert_well(fed, 7, "finished")
    assert (ap / "out.7.txt").read_text() == "7\n"


@pytest.mark.parametrize("mode", ["PUSH", "PULL"])
def test_a_worker_without_a_job_tells_its_wrapper_so(ap: Path, kind: str, mode: str) -> None:
    with harvester(kind, ap) as fed:
        run(ap, "--harvester-submit-mode", mode, "--harvester-patience", "1", expected=82)
    assert bool(fed.asked) == (mode == "PULL") and not fed.told


if PLACE:  # what only Harvester's own messenger does

    def test_a_job_is_read_from_url_encoded_text_too(ap: Path) -> None:
        fed: Any = harvester("real", ap)
        fed.messenger.jobSpecFileFormat = "cgi"
        with fed:
            fed.feed([job(7, "echo 7 > out.7.txt")])
            run(ap, "--harvester-submit-mode", "PUSH")
        assert_well(fed, 7, "finished")

    def test_harvester_finds_its_post_processing_done(ap: Path) -> None:
        fed: Any = harvester("real", ap)
        with fed:
            fed.feed([job(7, "echo 7 > out.7.txt")])
            run(ap, "--harvester-submit-mode", "PUSH")
        assert fed.messenger.post_processing(fed.worker, fed.specs, fed.worker.mapType)
        assert not (ap / "event_status.dump.json").exists(), "the log was listed by the pilot"
        assert fed.messenger.is_alive(fed.worker, 5) and not fed.messenger.kill_requested(fed.worker)
        assert json.loads(json.dumps(fed.specs[0].metaData))["worker_node"]
