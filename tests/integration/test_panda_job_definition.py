"""What a job description asks for is in effect in a whole job: archives, places, accesses, commands."""

from __future__ import annotations

import base64
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from pilot.plugins.sources.dummy import DummySource
from pilot.staging.paths import deterministic_path
from tests.bench import Bench, shell_job


def run(tmp_path: Path, job: dict[str, Any], **settings: Any) -> Bench:
    """One job in one pilot; everything is kept."""
    bench = Bench(tmp_path, DummySource([job]))
    assert bench.run(patience_s=40.0, **{"cleanup": "none", **settings}) == 0
    return bench


def storage(folder: Path, **more: Any) -> dict[str, Any]:
    """A storage in a directory, as the information system describes it."""
    protocols = [{"id": 1, "endpoint": f"file://{folder}", "path": "/"}]
    return {"type": "DATADISK", "arprotocols": {"read_lan": protocols, "write_lan": protocols}, **more}


def known(tmp_path: Path, storages: dict[str, Any], **queue: Any) -> dict[str, Any]:
    """Queue and storage data in files, as settings."""
    record = {"nickname": "Q", "copytools": {"copy": {}}, "astorages": {"write_lan": ["A"], "read_lan": ["A"]}, **queue}
    (tmp_path / "queue.json").write_text(json.dumps(record))
    (tmp_path / "storages.json").write_text(json.dumps(storages))
    urls = {"queuedata_url": str(tmp_path / "queue.json"), "storagedata_url": str(tmp_path / "storages.json")}
    return {"queue": "Q", "output_dir": "", **urls}


def with_words(job: dict[str, Any], *words: str) -> dict[str, Any]:
    """The job with more words in its parameters."""
    return {**job, "jobPars": " ".join([job["jobPars"], *words])}


def pfns(bench: Bench, number: int = 1) -> str:
    return (bench.directory(number) / "PoolFileCatalog.xml").read_text()


ZIP_MAP = "<ZIP_MAP>all.zip:a.txt,b.txt</ZIP_MAP>"


def test_outputs_of_the_zip_map_go_away_in_their_archive(tmp_path: Path) -> None:
    job = shell_job(1, "echo aa > a.txt; echo bb > b.txt; echo cc > c.txt", outputs=("all.zip", "c.txt"))
    bench = run(tmp_path, with_words(job, ZIP_MAP))
    with zipfile.ZipFile(bench.outputs / "all.zip") as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == {"a.txt": b"aa\n", "b.txt": b"bb\n"}
    report = {file.lfn: file for file in bench.final(1).report or ()}
    assert set(report) == {"all.zip", "c.txt", "job.1.log.tgz"}
    assert report["all.zip"].size == (bench.outputs / "all.zip").stat().st_size and report["all.zip"].checksums
    assert bench.final(1).error is None
    assert "ZIP_MAP" not in (bench.directory(1) / "replay.sh").read_text()


def test_an_archive_whose_member_is_missing_fails_the_job_and_names_it(tmp_path: Path) -> None:
    job = shell_job(1, "echo aa > a.txt; echo cc > c.txt", outputs=("all.zip", "c.txt"))
    failed = run(tmp_path, with_words(job, ZIP_MAP)).final(1)
    assert failed.error is not None and failed.error.code == 1165 and "b.txt" in failed.error.message
    assert {file.lfn for file in failed.report or ()} == {"c.txt", "job.1.log.tgz"}


def test_a_member_that_may_be_missing_is_left_out_and_an_undeclared_archive_is_not_made(tmp_path: Path) -> None:
    job = shell_job(1, "echo aa > a.txt", outputs=("all.zip",), allowNoOutput="all.zip")
    bench = run(tmp_path, with_words(job, ZIP_MAP.replace("</", " other.zip:a.txt</")))
    with zipfile.ZipFile(bench.outputs / "all.zip") as archive:
        assert archive.namelist() == ["a.txt"]
    assert {file.lfn for file in bench.final(1).report or ()} == {"all.zip", "job.1.log.tgz"}
    assert not (bench.directory(1) / "other.zip").exists() and bench.final(1).error is None


def test_the_log_goes_to_the_object_store_as_well_and_the_update_says_where(tmp_path: Path) -> None:
    storages = {
        "A": storage(tmp_path / "disk"),
        "LOGS": storage(tmp_path / "os", type="OS_LOGS", resource={"bucket_id": 77}),
    }
    places = known(tmp_path, storages, astorages={"write_lan": ["A"], "os_logs": ["LOGS"]})
    bench = run(tmp_path, shell_job(1, "true", putLogToOS="True"), **places)
    path = deterministic_path("test", "job.1.log.tgz")
    assert (tmp_path / "disk" / path).read_bytes() == (tmp_path / "os" / path).read_bytes()
    assert bench.final(1).metrics["logBucketID"] == "77"
    (log,) = bench.final(1).report or ()
    assert log.surl == f"file://{tmp_path}/disk/{path}"


@pytest.mark.parametrize("asked", [False, True])
def test_a_log_that_no_object_store_takes_fails_no_job(tmp_path: Path, asked: bool) -> None:
    places = known(tmp_path, {"A": storage(tmp_path / "disk")})
    bench = run(tmp_path, shell_job(1, "true", putLogToOS=asked), **places)
    assert bench.final(1).error is None and "logBucketID" not in bench.final(1).metrics
    assert ("no" in (bench.directory(1) / "pilot.log").read_text().split("object store:")[-1][:20]) is asked


@pytest.mark.parametrize(
    ("job_says", "queue_says", "second"), [("on", None, True), ("off", None, False), ("on", False, False)]
)
def test_a_job_may_ask_for_a_second_storage_where_the_queue_leaves_it_the_choice(
    tmp_path: Path, job_says: str, queue_says: bool | None, second: bool
) -> None:
    (tmp_path / "full").write_text("no directory")
    storages = {"A": storage(tmp_path / "full"), "B": storage(tmp_path / "b")}
    params = {} if queue_says is None else {"params": {"allow_altstageout": queue_says}}
    places = known(tmp_path, storages, astorages={"write_lan": ["A", "B"]}, **params)
    job = shell_job(1, "echo x > out.txt", outputs=("out.txt",), altStageOut=job_says)
    done = run(tmp_path, job, **places, stageout_attempts=1).final(1)
    assert (tmp_path / "b" / deterministic_path("test", "out.txt")).exists() is second
    assert (done.error is None) is second


def in_storage(tmp_path: Path, name: str, content: str) -> Path:
    """A file in storage A."""
    path = tmp_path / "disk" / deterministic_path("test", name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


@pytest.mark.parametrize(
    ("words", "keys", "in_place"),
    [
        ("--accessmode=direct", {}, True),
        ("", {"transferType": "direct"}, True),
        ("--accessmode=copy", {"transferType": "direct"}, False),
        ("--accessmode=direct", {"prodDBlockToken": "local"}, False),
        ("", {}, False),
    ],
)
def test_an_input_is_read_where_it_lies_or_copied_as_job_and_queue_agree(
    tmp_path: Path, words: str, keys: dict[str, str], in_place: bool
) -> None:
    where = in_storage(tmp_path, "in.root", "content\n")
    places = known(tmp_path, {"A": storage(tmp_path / "disk")}, direct_access_lan=True)
    script = (
        'ls > there.txt; sed -n \'s/.*pfn.*name="\\([^"]*\\)".*/\\1/p\' PoolFileCatalog.xml | xargs cat >> there.txt'
    )
    job = shell_job(1, script, outputs=("there.txt",), inFiles="in.root", scopeIn="test", ddmEndPointIn="A", **keys)
    bench = run(tmp_path, with_words(job, words) if words else job, **places)
    assert bench.final(1).error is None
    told = (tmp_path / "disk" / deterministic_path("test", "there.txt")).read_text().splitlines()
    assert told[-1] == "content" and ("in.root" in told) is not in_place
    assert (f'name="{where}"' in pfns(bench)) is in_place


def test_a_queue_without_direct_access_copies_whatever_the_job_wants(tmp_path: Path) -> None:
    in_storage(tmp_path, "in.root", "content\n")
    job = shell_job(1, "cat in.root", inFiles="in.root", scopeIn="test", ddmEndPointIn="A", transferType="direct")
    bench = run(tmp_path, job, **known(tmp_path, {"A": storage(tmp_path / "disk")}))
    assert bench.final(1).error is None and f'name="{bench.directory(1)}/in.root"' in pfns(bench)


def test_a_jobs_own_storage_data_are_in_effect_and_gone_from_its_parameters(tmp_path: Path) -> None:
    other = {"A": {"arprotocols": storage(tmp_path / "other")["arprotocols"]}}
    job = shell_job(1, "echo $# > out.txt", outputs=("out.txt",))
    job = with_words(job, f"--overwriteStorageData={json.dumps(other)}", "--overwriteQueueData={'maxwdir': 7}")
    bench = run(tmp_path, job, **known(tmp_path, {"A": storage(tmp_path / "disk")}))
    path = deterministic_path("test", "out.txt")
    assert (tmp_path / "other" / path).read_text() == "0\n" and not (tmp_path / "disk").exists()
    assert bench.final(1).error is None


def test_parameters_in_base64_are_those_that_were_meant(tmp_path: Path) -> None:
    job = shell_job(1, "echo meant > out.txt", outputs=("out.txt",))
    bench = run(tmp_path, {**job, "jobPars": base64.b64encode(job["jobPars"].encode()).decode()})
    assert (bench.outputs / "out.txt").read_text() == "meant\n"


def test_lists_of_inputs_are_written_for_the_payload(tmp_path: Path) -> None:
    inputs = {name: tmp_path / name for name in ("one", "two", "three")}
    for path in inputs.values():
        path.write_text(path.name)
    job = shell_job(
        1, "cp first second .. && echo $1 $2 > ../words", inputs=inputs, writeToFile="first:one,two^second:three"
    )
    job["jobPars"] += " sh --inputs=@first @second"
    bench = run(tmp_path, job)
    assert (bench.workdir / "first").read_text() == "--inputs\none\ntwo\n"
    assert (bench.workdir / "second").read_text() == "three\n"
    assert (bench.workdir / "words").read_text() == "@first @second\n"


@pytest.mark.parametrize("optional", [True, False])
def test_an_output_that_may_be_missing_fails_no_job(tmp_path: Path, optional: bool) -> None:
    job = shell_job(1, "echo x > a.txt", outputs=("a.txt", "b.txt"), allowNoOutput="b.txt" if optional else "")
    done = run(tmp_path, job).final(1)
    assert {file.lfn for file in done.report or ()} == {"a.txt", "job.1.log.tgz"}
    assert (done.error is None) is optional


def test_an_archive_among_the_inputs_is_taken_apart_before_the_payload_starts(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
        archive.writestr("x.txt", "packed\n")
    job = shell_job(1, "cat x.txt > out.txt", inputs={"zip://in.zip": tmp_path / "in.zip"}, outputs=("out.txt",))
    bench = run(tmp_path, job)
    assert (bench.outputs / "out.txt").read_text() == "packed\n" and bench.final(1).error is None
