"""A pilot as a worker of Harvester: jobs, ranges and reports by files that grow while they are read, or by HTTP."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from pilot.lib.checksum import checksum_of
from pilot.lib.program import own_command, own_environment
from pilot.plugins.sources.harvester_names import Names
from tests import hzz
from tests.bench import patience, shell_job
from tests.harvester_standin import FrontEnd, Harvester

WAIT_S = 40.0


def start(folder: Path, *options: str, **environment: str) -> subprocess.Popen:
    command = own_command("run", "--workdir", str(folder / "w"), *options)
    with (folder / "pilot.err").open("ab") as log:
        return subprocess.Popen(command, env=own_environment() | environment, stdout=log, stderr=log, cwd=folder / "ap")


def run(folder: Path, *options: str, expected: int = 0, **environment: str) -> str:
    child = start(folder, *options, **environment)
    try:
        code = child.wait(WAIT_S)
    finally:
        child.kill()
        child.wait()
    said = (folder / "pilot.err").read_text()
    assert code == expected, said
    return said


@pytest.fixture
def ap(tmp_path):
    (tmp_path / "ap").mkdir()
    return tmp_path / "ap"


def job(number: int, script: str = "cat in.txt > out.txt; echo '{\"nEvents\": 7}' > jobReport.json", **more) -> dict:
    return shell_job(number, script, outputs=(f"out.{number}.txt",), **more)


def copy_job(number: int) -> dict:
    described = job(number, f"cat in.{number}.txt > out.{number}.txt; echo '{{\"nEvents\": 7}}' > jobReport.json")
    return described | {"inFiles": f"in.{number}.txt", "scopeIn": "test"}


def test_a_job_is_asked_for_run_and_reported_by_files_alone(tmp_path, ap):
    (ap / "in.7.txt").write_text("staged by harvester\n")
    with Harvester(ap) as harvester:
        harvester.jobs.append(copy_job(7))
        said = run(tmp_path, "--source", "harvester", "--jobs", "1", "--harvester-workdir", str(ap))
    assert harvester.asked == [{"nJobs": 1}]
    assert not harvester.faults, (harvester.faults, said)
    last = harvester.attributes[7][-1]
    assert (last["jobStatus"], last["transExitCode"], last["nEvents"], last["attemptNr"]) == ("finished", 0, 7, 1)
    assert "xml" not in last and "meanCoreCount" not in last
    assert json.loads((ap / "jobReport.json").read_text())["nEvents"] == 7
    ((_, dump),) = harvester.dumps
    ((key, entries),) = dump.items()
    assert key == "7" and {entry["type"] for entry in entries} == {"output", "log"}
    (output,) = [entry for entry in entries if entry["type"] == "output"]
    assert Path(output["path"]).read_text() == "staged by harvester\n" and Path(output["path"]).parent == ap
    assert output["chksum"] == checksum_of(output["path"], ["adler32"]).values()["adler32"]
    assert output["fsize"] == 20 and output["guid"]
    assert (ap / "worker_heartbeat.json").exists() and not (ap / "kill_worker.json").exists()


def test_many_jobs_of_a_worker_have_their_own_directories(tmp_path, ap):
    with Harvester(ap, many=True) as harvester:
        for number in (11, 12, 13):
            (ap / str(number)).mkdir()
            (ap / str(number) / f"in.{number}.txt").write_text(f"input {number}\n")
        harvester.feed([copy_job(number) for number in (11, 12, 13)])
        options = ["--harvester-map", "ManyToOne", "--harvester-submit-mode", "PUSH", "--slots", "2"]
        run(tmp_path, "--source", "harvester", "--harvester-workdir", str(ap), *options)
    assert not harvester.faults and not harvester.asked
    for number in (11, 12, 13):
        assert harvester.attributes[number][-1]["jobStatus"] == "finished"
        assert (ap / str(number) / f"out.{number}.txt").read_text() == f"input {number}\n"
    assert sorted(key for _, dump in harvester.dumps for key in dump) == ["11", "12", "13"]


def test_all_names_can_be_others(tmp_path, ap):
    words = {
        "workerAttributesFile": "attrs.js", "jobReportFile": "report.js", "eventStatusDumpJsonFile": "dump.js",
        "jobRequestFile": "ask.js", "jobSpecFile": "spec.js", "pandaIDsFile": "ids.js", "heartbeatFile": "beat.js",
        "killWorkerFile": "kill.js",
    }  # fmt: skip
    names = Names(
        "attrs.js", "report.js", "dump.js", "ask.js", "spec.js", panda_ids="ids.js", heartbeat="beat.js", kill="kill.js"
    )
    (ap / "in.7.txt").write_text("x\n")
    with Harvester(ap, names) as harvester:
        harvester.jobs.append(copy_job(7))
        files = ",".join(f"{word}={name}" for word, name in words.items())
        options = ["--harvester-files", files, "--harvester-kill", "true", "--jobs", "1"]
        run(tmp_path, "--source", "harvester", *options, HARVESTER_WORKDIR=str(ap))
    assert harvester.attributes[7][-1]["jobStatus"] == "finished" and len(harvester.dumps) == 1
    assert {"beat.js", "kill.js"} <= {path.name for path in ap.iterdir()}
    assert not {"worker_heartbeat.json", "worker_attributes.json"} & {path.name for path in ap.iterdir()}


def test_the_options_of_wrappers_make_the_pilot_a_worker(tmp_path, ap):
    (ap / "in.7.txt").write_text("x\n")
    (ap / "pandaJobData.out").write_text("PandaID=7&" + "&".join(f"{k}={v}" for k, v in cgi(copy_job(7)).items()))
    os.utime(ap / "pandaJobData.out", (time.time() - 10,) * 2)
    options = ["--pilot-user", "generic", "-q", "HERE", "-z", "--harvester-submit-mode", "PUSH"]
    with Harvester(ap) as harvester:
        run(tmp_path, *options, "--harvester-workdir", str(ap), "--harvester-datadir", str(ap))
    assert (ap / "out.7.txt").read_text() == "x\n"
    assert [entry["type"] for entry in harvester.entries()] == ["output", "log"]


def cgi(described: dict) -> dict:
    from urllib.parse import quote_plus

    return {key: quote_plus(str(value)) for key, value in described.items() if key != "PandaID"}


def test_a_failed_job_says_why_and_lists_its_log(tmp_path, ap):
    with Harvester(ap) as harvester:
        harvester.jobs.append(job(8, "exit 3"))
        run(tmp_path, "--source", "harvester", "--jobs", "1", "--harvester-workdir", str(ap))
    last = harvester.attributes[8][-1]
    assert (last["jobStatus"], last["transExitCode"], last["pilotErrorCode"]) == ("failed", 3, 1305)
    assert [entry["type"] for entry in harvester.entries()] == ["log"] and not harvester.faults


@pytest.mark.parametrize("mode", ["PULL", "PUSH"])
def test_a_worker_that_gets_no_job_gives_up_and_its_wrapper_knows_it(tmp_path, ap, mode):
    options = ["--harvester-submit-mode", mode, "--harvester-patience", "0.5"]
    said = run(tmp_path, "--source", "harvester", "--harvester-workdir", str(ap), *options, expected=82)
    assert "brought no job" in said
    request = ap / "worker_requestjob.json"
    assert request.exists() == (mode == "PULL") and (mode == "PUSH" or json.loads(request.read_text()) == {"nJobs": 1})


def test_jobs_that_share_an_access_point_are_seen_one_after_the_other(tmp_path, ap):
    with Harvester(ap, slow_s=0.7) as harvester:
        harvester.jobs += [job(21, "true"), job(22, "exit 4")]
        run(tmp_path, "--source", "harvester", "--jobs", "2", "--harvester-workdir", str(ap))
    assert [asked["nJobs"] for asked in harvester.asked] == [1, 1] and not harvester.faults
    final = [told for told in harvester.told if told["jobStatus"] in ("finished", "failed")]
    assert [(told["jobStatus"], told["transExitCode"]) for told in final] == [("failed", 0), ("failed", 4)], final
    assert [list(dump) for _, dump in harvester.dumps] == [["21"], ["22"]]


def test_a_waiting_worker_ends_when_it_is_told_to(tmp_path, ap):
    child = start(tmp_path, "--source", "harvester", "--harvester-workdir", str(ap))
    try:
        assert patience((ap / "worker_requestjob.json").exists, WAIT_S)
        child.send_signal(signal.SIGTERM)
        assert child.wait(10) == 143
    finally:
        child.kill()
        child.wait()


def event_job(tmp_path: Path) -> tuple[dict, list[dict]]:
    (tmp_path / "payload.py").write_text(hzz.PAYLOAD)
    described = shell_job(9, f"exec {shlex.quote(sys.executable)} {tmp_path / 'payload.py'} 4", eventService="True")
    described |= {"inFiles": "HZZ.root", "scopeIn": "test", "taskID": 5, "jobsetID": 6}
    ranges = [
        {
            "eventRangeID": f"5-9-1-{n + 1}-1",
            "startEvent": first,
            "lastEvent": min(first + 49, hzz.EVENTS),
            "LFN": "HZZ.root",
            "GUID": "G",
            "scope": "test",
        }
        for n, first in enumerate(range(1, hzz.EVENTS + 1, 50))
    ]
    return described, ranges


@hzz.needs_data
def test_event_ranges_come_and_go_by_files(tmp_path, ap):
    (ap / "HZZ.root").symlink_to(hzz.HZZ)
    with Harvester(ap) as harvester:
        described, harvester.ranges = event_job(tmp_path)
        harvester.jobs.append(described)
        said = run(tmp_path, "--source", "harvester", "--jobs", "1", "--harvester-workdir", str(ap))
    assert not harvester.faults, harvester.faults
    listed = [entry for entry in harvester.entries() if entry["type"] == "zip_output"]
    assert len(listed) == 49 and {entry["eventStatus"] for entry in listed} == {"finished"}, said
    assert len({entry["eventRangeID"] for entry in listed}) == 49
    pieces = hzz.pieces(sorted({Path(entry["path"]) for entry in listed}))
    assert hzz.merged(pieces.values()) == (hzz.EVENTS, hzz.reference())
    assert harvester.attributes[9][-1]["nEvents"] == hzz.EVENTS
    wishes = [asked["9"] for asked in harvester.asked if "9" in asked]
    assert wishes[0]["pandaID"] == 9 and wishes[0]["jobsetID"] == 6 and wishes[0]["taskID"] == 5


@hzz.needs_data
def test_all_of_it_goes_over_http_too(tmp_path, ap):
    (ap / "HZZ.root").symlink_to(hzz.HZZ)
    (tmp_path / "token").write_text("signed\n")
    with Harvester(ap) as harvester:
        described, harvester.ranges = event_job(tmp_path)
        harvester.jobs.append(described)
        front = FrontEnd(harvester, "signed")
        try:
            options = ["--harvester-url", front.url, "--harvester-token", str(tmp_path / "token"), "--worker-id", "4"]
            run(tmp_path, "--source", "harvester", "--jobs", "1", "--harvester-workdir", str(ap), *options)
        finally:
            front.close()
    assert not harvester.faults, harvester.faults
    finished = {entry["eventRangeID"] for entry in harvester.entries() if entry.get("eventStatus") == "finished"}
    assert len(finished) == 49
    assert set(Counter(entry["eventRangeID"] for entry in harvester.updates).values()) == {1}
    assert harvester.attributes[9][-1]["jobStatus"] == "finished"
    assert [entry["type"] for entry in harvester.entries() if "eventRangeID" not in entry] == ["log"]
