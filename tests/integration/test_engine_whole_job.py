"""Whole jobs: a real server, a real pilot process, real files; and all that is left behind for others to read."""

from __future__ import annotations

import gzip
import json
import tarfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from tests.bench import shell_job
from tests.pilots import Site, assert_reported_once

RECORDS = {
    "job.json", "pilot.log", "payload.stdout", "payload.stderr", "memory_monitor_summary.json",
    "memory_monitor_output.txt", "OutputFiles.xml", "PoolFileCatalog.xml", "heartbeat.json", "replay.sh",
}  # fmt: skip


def adler32(path: Path) -> str:
    import zlib

    return f"{zlib.adler32(path.read_bytes()):08x}"


def test_two_jobs_run_beside_each_other_and_each_is_reported_once(site: Site) -> None:
    meet = "touch ../me.{0}; for i in $(seq 100); do [ -e ../me.{1} ] && break; sleep 0.05; done; [ -e ../me.{1} ]"
    jobs = site.submit(shell_job(0, meet.format("a", "b")), shell_job(0, meet.format("b", "a")))
    assert site.run("--jobs", "2", "--slots", "2") == 0, site.log()
    for number in jobs:
        assert_reported_once(site, number, "finished")


def test_with_one_slot_jobs_follow_one_another(site: Site) -> None:
    script = "[ ! -e ../busy ] || exit 9; touch ../busy; sleep 0.15; rm ../busy"
    jobs = site.submit(*(shell_job(0, script) for _ in range(3)))
    assert site.run("--jobs", "3", "--slots", "1") == 0
    for number in jobs:
        assert_reported_once(site, number, "finished")


@pytest.fixture(scope="module")
def finished(job_server: object, tmp_path_factory: pytest.TempPathFactory) -> tuple[Site, int]:
    """A site at which one job with two inputs and two outputs has run, everything kept."""
    site = Site(tmp_path_factory.mktemp("finished"), job_server.url)  # type: ignore[attr-defined]
    script = """
        echo to stdout; echo to stderr >&2
        cat one.txt two.txt > both.txt; wc -c < both.txt > size.txt; mkdir sub; echo deep > sub/extra.txt
        sleep 0.3
        echo '{"nEvents": 7, "files": {"output": [{"subFiles": [{"name": "both.txt", "file_guid": "GUID-BOTH"}]}]}}' \\
            > jobReport.json
    """
    inputs = {"one.txt": site.input("one.txt", "first\n"), "two.txt": site.input("two.txt", "second & <last>\n")}
    number = site.shell(
        script, inputs=inputs, outputs=("both.txt", "size.txt"), realDatasets="ds.both,ds.size,ds.log",
        GUID="11111111-AAAA,22222222-BBBB",
    )  # fmt: skip
    assert site.run("--jobs", "1", "--cleanup", "none") == 0, site.log()
    return site, number


def test_the_outputs_are_at_their_place_with_what_the_payload_wrote(finished: tuple[Site, int]) -> None:
    site, number = finished
    assert (site.outputs / "both.txt").read_text() == "first\nsecond & <last>\n"
    assert (site.outputs / "size.txt").read_text() == "22\n"
    told = assert_reported_once(site, number, "finished")
    assert told["report"]["both.txt"] == {
        "guid": "GUID-BOTH",
        "fsize": 22,
        "adler32": adler32(site.outputs / "both.txt"),
        "surl": f"file://{site.outputs}/both.txt",
    }
    assert set(told["report"]) == {"both.txt", "size.txt", "job.0.log.tgz"}


def test_the_final_update_tells_what_the_job_did_and_used(finished: tuple[Site, int]) -> None:
    site, number = finished
    told = site.told(number)
    facts = told["facts"]
    assert facts["n_events"] == 7
    assert facts["n_input_files"] == 2
    assert facts["trans_exit_code"] in (0, "0")
    assert told["metadata"]["nEvents"] == 7
    assert facts["max_pss"] > 0 and facts["max_rss"] >= facts["max_pss"]
    assert facts["cpu_consumption_time"] >= 0
    assert len(facts["pilot_timing"].split("|")) == 6
    metrics = dict(pair.split("=") for pair in facts["job_metrics"].split())
    assert metrics["nEvents"] == "7"
    assert int(metrics["workDirSize"]) > 22
    assert metrics["coreCount"] == "1"
    assert "phase staging_out" in told["pilot_log"]
    states = [entry["status"] for entry in told["history"]]
    assert [s for s in states if s in ("sent", "starting", "running", "holding", "finished")] == [
        "sent", "starting", "running", "holding", "finished",
    ]  # fmt: skip


def test_the_pool_catalogue_names_every_input(finished: tuple[Site, int]) -> None:
    site, number = finished
    text = (site.directory(number) / "PoolFileCatalog.xml").read_text()
    assert '<!DOCTYPE POOLFILECATALOG SYSTEM "InMemory">' in text
    files = ElementTree.fromstring(text).findall("File")
    assert {file.get("ID") for file in files} == {"11111111-AAAA", "22222222-BBBB"}
    by_name = {file.find("logical/lfn").get("name"): file.find("physical/pfn") for file in files}  # type: ignore[union-attr]
    assert set(by_name) == {"one.txt", "two.txt"}
    for name, pfn in by_name.items():
        assert pfn is not None and pfn.get("filetype") == "ROOT_All"
        assert Path(str(pfn.get("name"))).name == name


def test_the_output_catalogue_tells_each_file_as_nordugrid_wants_it(finished: tuple[Site, int]) -> None:
    site, number = finished
    root = ElementTree.parse(site.directory(number) / "OutputFiles.xml").getroot()
    assert root.tag == "outfiles"
    rows = {file.findtext("lfn"): {child.tag: child.text for child in file} for file in root.findall("file")}
    assert set(rows) == {"both.txt", "size.txt", "job.0.log.tgz"}
    both = rows["both.txt"]
    assert set(both) == {"guid", "lfn", "surl", "size", "ad32", "dataset", "date"}
    assert both["guid"] == "GUID-BOTH" and both["size"] == "22" and both["dataset"] == "ds.both"
    assert both["ad32"] == adler32(site.outputs / "both.txt")
    assert both["surl"] == f"file://{site.outputs}/both.txt"


def test_the_monitor_files_are_in_the_form_of_prmon(finished: tuple[Site, int]) -> None:
    site, number = finished
    summary = json.loads((site.directory(number) / "memory_monitor_summary.json").read_text())
    assert {"Max", "Avg", "HW"} <= set(summary)
    assert {
        "pss",
        "rss",
        "vmem",
        "swap",
        "rchar",
        "wchar",
        "read_bytes",
        "write_bytes",
        "utime",
        "stime",
        "wtime",
    } <= set(summary["Max"])
    assert 0.25 < summary["Max"]["wtime"] < 20
    lines = (site.directory(number) / "memory_monitor_output.txt").read_text().splitlines()
    head = lines[0].split("\t")
    assert head[0] == "Time" and {"wtime", "pss", "rss", "nprocs"} <= set(head)
    assert len(lines) > 1
    assert all(len(line.split("\t")) == len(head) and all(map(str.isdigit, line.split("\t"))) for line in lines[1:])


def test_the_log_archive_holds_the_records_and_what_else_was_left_but_no_input_and_no_output(
    finished: tuple[Site, int],
) -> None:
    site, number = finished
    with tarfile.open(site.outputs / "job.0.log.tgz") as archive:
        names = {
            Path(name).relative_to(f"tarball_PandaJob_{number}_{site.queue}").as_posix() for name in archive.getnames()
        }
        assert archive.extractfile(f"tarball_PandaJob_{number}_{site.queue}/payload.stdout").read() == b"to stdout\n"  # type: ignore[union-attr]
    assert names >= (RECORDS | {"jobReport.json", "sub/extra.txt"})
    assert not names & {"one.txt", "two.txt", "both.txt", "size.txt", "job.0.log.tgz"}


def test_the_pilot_db_holds_every_step(finished: tuple[Site, int]) -> None:
    site, number = finished
    job = site.ask("show", str(number))
    assert [p["phase"] for p in job["phases"] if p["event"].startswith("reply")] == [
        "staging_in", "running", "staging_out", "reporting", "done",
    ]  # fmt: skip
    assert {(f["direction"], f["lfn"], f["state"]) for f in job["files"]} == {
        ("in", "one.txt", "transferred"), ("in", "two.txt", "transferred"), ("out", "both.txt", "transferred"),
        ("out", "size.txt", "transferred"), ("out", "job.0.log.tgz", "transferred"),
    }  # fmt: skip
    assert len(job["transfers"]) == 5 and all(t["error_code"] is None and t["seconds"] >= 0 for t in job["transfers"])
    assert job["samples"]["n"] >= 1
    assert [(m["state"], m["accepted"]) for m in job["messages"]][-1] == ("finished", 1)
    assert job["processes"] and all(p["ended"] for p in job["processes"])
    assert (job["exit_code"], job["error"], job["outcome"]) == (0, None, "finished")
    (row,) = site.ask("status")["jobs"]
    assert row["job_id"] == number and row["outcome"] == "finished"
    (pilot,) = site.ask("status")["pilots"]
    assert pilot["exit_code"] == 0 and pilot["ended"]


def test_replay_runs_the_payload_again_without_a_pilot(finished: tuple[Site, int], tmp_path: Path) -> None:
    import shutil
    import subprocess

    site, number = finished
    for name in ("one.txt", "two.txt"):
        shutil.copy(site.inputs / name, tmp_path)
    subprocess.run(
        [site.directory(number) / "replay.sh", tmp_path],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=20,
    )
    assert (tmp_path / "both.txt").read_text() == (site.outputs / "both.txt").read_text()


@pytest.mark.parametrize("mode", ["records", "all", "none"])
def test_the_work_directory_is_cleaned_as_told(site: Site, mode: str) -> None:
    number = site.shell(
        "cp in.txt out.txt; mkdir sub; touch sub/x", inputs={"in.txt": site.input("in.txt")}, outputs=("out.txt",)
    )
    assert site.run("--jobs", "1", "--cleanup", mode) == 0
    left = {p.name for p in site.directory(number).iterdir()} if site.directory(number).exists() else None
    if mode == "all":
        assert left is None
    elif mode == "records":
        assert left == RECORDS
    else:
        assert left is not None and left >= RECORDS | {"in.txt", "out.txt", "sub", "job.0.log.tgz"}


def test_a_failing_payload_is_told_with_its_own_exit_code_and_its_last_words(site: Site) -> None:
    number = site.shell("echo working; echo 'no such calibration' >&2; exit 3", outputs=("out.txt",))
    assert site.run("--jobs", "1") == 0, "a failed job is no failed pilot"
    told = assert_reported_once(site, number, "failed")
    assert told["facts"]["trans_exit_code"] in (3, "3")
    assert told["facts"]["pilot_error_code"] == 1305
    assert "no such calibration" in told["facts"]["pilot_error_diag"]
    assert set(told["report"]) == {"job.0.log.tgz"}
    with gzip.open(site.outputs / "job.0.log.tgz") as archive:
        assert b"no such calibration" in archive.read()


def test_jobs_from_files_need_no_server(site: Site, tmp_path: Path) -> None:
    jobs = [shell_job(1, "echo one > one.txt", outputs=("one.txt",)), shell_job(2, "exit 4")]
    (tmp_path / "jobs.jsonl").write_text("\n".join(json.dumps({**job, "PandaID": None}) for job in jobs))
    process = site.start_local(tmp_path / "jobs.jsonl", "--slots", "2")
    assert process.wait(30) == 0, site.log()
    ended = [(row["outcome"], row["exit_code"]) for row in site.ask("status")["jobs"]]
    assert sorted(ended) == [("failed", 4), ("finished", 0)]
    assert (site.outputs / "one.txt").read_text() == "one\n"


def test_the_same_file_is_known_again_after_a_kill_and_another_file_is_not(site: Site, tmp_path: Path) -> None:
    def file(name: str, *scripts: str) -> Path:
        # Each job's log has a name of its own, but the first two are the same job twice.
        jobs = [shell_job(scripts.index(script), script) for script in scripts]
        (tmp_path / name).write_text(json.dumps([{k: v for k, v in job.items() if k != "PandaID"} for job in jobs]))
        return tmp_path / name

    same = "echo same >> ../ran"
    first = file("first.json", same, same, "echo slow >> ../ran; [ -e ../again ] || { touch ../again; sleep 60; }")
    pilot = site.start_local(first)
    site.wait_for(lambda: (site.workdir / "again").exists())
    pilot.kill()
    pilot.wait()
    assert site.start_local(first).wait(30) == 0, site.log()
    assert (site.workdir / "ran").read_text().split() == ["same", "same", "slow", "slow"]
    assert site.start_local(file("second.json", "echo other >> ../ran")).wait(30) == 0
    assert (site.workdir / "ran").read_text().split()[4:] == ["other"]
    jobs = site.ask("status")["jobs"]
    assert [job["outcome"] for job in jobs] == ["finished"] * 4
    site.assert_nothing_left()


def test_a_tiny_payload_is_not_charged_with_the_memory_of_the_pilot(site: Site) -> None:
    (number,) = site.submit(shell_job(0, "") | {"transformation": "/bin/sleep", "jobPars": "0.2"})
    assert site.run("--jobs", "1") == 0
    usage = site.job(number)["facts"]["usage"]
    assert 0 < usage["max_rss_kb"] < 10_000
    assert usage["max_pss_kb"] <= usage["max_rss_kb"]


def test_a_large_payload_is_charged_with_its_true_peak(site: Site) -> None:
    import sys

    job = shell_job(0, "") | {"transformation": sys.executable, "jobPars": "-c \"x = b'x' * (150 << 20)\""}
    (number,) = site.submit(job)
    assert site.run("--jobs", "1") == 0
    assert site.job(number)["facts"]["usage"]["max_rss_kb"] > 150_000
