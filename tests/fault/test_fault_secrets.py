"""Secrets of a job are in no file that anybody else could read, at any moment, and survive a kill -9 of the pilot."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import signal
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pilot.core.secrets import secret_words
from pilot.plugins.sources.dummy import DummySource
from tests.bench import Bench, shell_job
from tests.pilots import Site, assert_reported_once

USER, OPENLY, HIDDEN = "planted-user-c3d4e5", "planted-0penly-f6a7", "planted-pilot-b8c9"
PLANTED = (USER, OPENLY, HIDDEN)
WAITS = "touch ../started; while [ ! -e ../go ]; do sleep 0.05; done;"
PROVES = "echo -n $1 | md5sum > out.txt; cat panda_secrets.json | tr -d ' ' | md5sum >> out.txt"


def md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


def secret_job(**more: Any) -> dict[str, Any]:
    """A job with secrets of its user, of its pilot, and in its command line."""
    job = shell_job(0, WAITS + PROVES, outputs=("out.txt",))
    return {
        **job,
        "jobPars": f"{job['jobPars']} sh --password={OPENLY}",
        "secrets": json.dumps({"MINE": USER}),
        "pilotSecrets": json.dumps({"TOKEN": HIDDEN}),
        **more,
    }


def contents(name: str, data: bytes) -> Iterator[tuple[str, bytes]]:
    """A file, and what is inside if it is an archive."""
    yield name, data
    if name.endswith(".tgz"):
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            for member in archive.getmembers():
                if (inner := archive.extractfile(member)) is not None:
                    yield from contents(f"{name}:{member.name}", inner.read())


def assert_nothing_planted(site: Site) -> set[str]:
    """Look into everything that the pilots of a site have written; the names of what was looked into."""
    seen = set()
    for path in site.folder.rglob("*"):
        if not path.is_file():
            continue
        if path.parent.name == ".secrets" or path.name == "panda_secrets.json":
            assert path.stat().st_mode & 0o077 == 0, path
            continue
        for name, data in contents(str(path.relative_to(site.folder)), path.read_bytes()):
            seen.add(name.rpartition("/")[2])
            for text in PLANTED:
                assert text.encode() not in data, f"{text} in {name}"
                assert base64.b64encode(text.encode()).rstrip(b"=")[:-2] not in data, f"{text} in base64 in {name}"
    return seen


@pytest.mark.parametrize("coded", [False, True])
def test_secrets_survive_a_kill_and_are_in_no_file_that_others_may_read(site: Site, coded: bool) -> None:
    job = secret_job()
    if coded:
        job["jobPars"] = base64.b64encode(job["jobPars"].encode()).decode()
        while job["jobPars"].endswith("="):  # only whole groups of letters are taken for base64 beyond doubt
            job["jobPars"] = base64.b64encode(base64.b64decode(job["jobPars"]) + b" x").decode()
    (number,) = site.submit(job)
    pilot = site.start("--jobs", "1", "--cleanup", "none", "--log-level", "debug")
    site.wait_for((site.workdir / "started").exists, 30.0)
    pilot.send_signal(signal.SIGKILL)
    pilot.wait(10)
    seen = assert_nothing_planted(site)
    assert {"pilot.db", "pilot.db-wal", "job.json", "heartbeat.json", "replay.sh", "pilot.log"} <= seen
    kept = list((site.workdir / ".secrets").iterdir())
    assert [path.name for path in kept] == [f"{number}.1.json"]

    (site.workdir / "go").touch()
    assert site.run("--jobs", "1", "--cleanup", "none", "--log-level", "debug") == 0, site.log()
    told = assert_reported_once(site, number, "finished")
    assert [line.split()[0] for line in (site.outputs / "out.txt").read_text().splitlines()] == [
        md5(f"--password={OPENLY}"), md5(json.dumps({"MINE": USER}).replace(" ", "")),
    ]  # fmt: skip
    seen = assert_nothing_planted(site)
    assert {"pilot.db", "job.0.log.tgz", "job.json", "OutputFiles.xml"} <= seen
    assert not list((site.workdir / ".secrets").iterdir()), "gone with the job's end"
    assert not list(site.workdir.rglob("panda_secrets.json"))
    assert not any(text in json.dumps([told["facts"], told["report"], told["history"]]) for text in PLANTED)


def test_a_job_whose_description_is_refused_leaves_no_secret_either(site: Site) -> None:
    (number,) = site.submit(secret_job(jobPars=f"--overwriteQueueData=[{OPENLY}] --password={OPENLY}"))
    assert site.run("--jobs", "1", "--cleanup", "none") == 0, site.log()
    assert "jobPars" in assert_reported_once(site, number, "failed")["facts"]["pilot_error_diag"]
    assert_nothing_planted(site)


def test_files_of_jobs_that_are_over_are_removed_by_the_next_pilot(site: Site) -> None:
    (site.workdir / ".secrets").mkdir()
    (site.workdir / ".secrets" / "77.1.json").write_text("{}")
    assert site.run() == 0
    assert not list((site.workdir / ".secrets").iterdir())


def test_the_script_that_starts_a_container_is_archived_without_secrets(tmp_path: Path) -> None:
    script = tmp_path / "base" / "user" / "atlasLocalSetup.sh"
    script.parent.mkdir(parents=True)
    script.write_text("grep -c planted container_script.sh > seen.txt; exit 0\n")
    queue = {
        "nickname": "Q", "environ": f"ATLAS_LOCAL_ROOT_BASE={tmp_path}/base", "container_type": "singularity:pilot",
        "copytools": {"copy": {}},
    }  # fmt: skip
    (tmp_path / "queue.json").write_text(json.dumps(queue))
    (tmp_path / "storages.json").write_text("{}")
    job = shell_job(1, "true", outputs=("seen.txt",), container_name="docker://image")
    bench = Bench(tmp_path, DummySource([{**job, "jobPars": f"{job['jobPars']} sh --password={OPENLY}"}]))
    code = bench.run(
        queue="Q", experiment="atlas", cleanup="none", cvmfs_check="off", patience_s=40.0,
        queuedata_url=str(tmp_path / "queue.json"), storagedata_url=str(tmp_path / "storages.json"),
    )  # fmt: skip
    assert code == 0
    assert (bench.outputs / "seen.txt").read_text() != "0\n", "the container itself was given what it needs"
    with tarfile.open(bench.outputs / "job.1.log.tgz") as archive:
        names = [member.name for member in archive.getmembers()]
        assert any(name.endswith("container_script.sh") for name in names)
    for path in (bench.outputs / "job.1.log.tgz", bench.directory(1) / "container_script.sh"):
        for name, data in contents(path.name, path.read_bytes()):
            assert OPENLY.encode() not in data, name


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("--password=abc12345", ["abc12345"]),
        ("run --db-passwd 'abc12345' -x", ["abc12345"]),
        ("-x AWS_SECRET_ACCESS_KEY=abc123/45+ y", ["abc123/45+"]),
        ("--secret-key k3y-of-you --access_key=k3y-of-us", ["k3y-of-you", "k3y-of-us"]),
        ("--token abcd1234;ls", ["abcd1234"]),
        ('--api-key="k3y-of-mine"', ["k3y-of-mine"]),
        ("export MY_TOKEN=t0ken-value", ["t0ken-value"]),
        ("--token=$TOKEN1234 --token-file=/a/b1234567 --password /run/secret12", []),
        ("--destinationToken=ATLASDATADISK --dst_token=ATLASDATADISK", []),
        ("--secret short1 --tokens=12345678 --token=12345678 --secretary=abc12345", []),
        ("--overwriteStorageData={'A': {'secret_key': 'name1234'}}", []),
        ("--password", []),
    ],
)
def test_what_is_called_a_secret_in_a_command_line_is_one(text: str, found: list[str]) -> None:
    assert secret_words(text) == found
