"""Merge jobs: archives of range outputs come back as the files that are in them; what is broken is told by name."""

from __future__ import annotations

import tarfile
import zipfile
from pathlib import Path

import pytest

from pilot.core.errors import GetAdMismatch
from pilot.core.job import InputFile
from pilot.core.storage import Access, StagingSite, Storage
from pilot.core.transfer import Endpoint
from pilot.engine.unpack import unpack
from pilot.plugins.sources.dummy import DummySource
from pilot.runtime.eventarchive import ArchiveWriter
from pilot.staging.plan import sources_of
from tests.bench import Bench, shell_job


def archive(folder: Path, name: str, **members: str) -> Path:
    writer = ArchiveWriter(folder / name)
    for n, (member, text) in enumerate(members.items()):
        (folder / member).write_text(text)
        writer.add([(n, f"1-1-1-{n}-1", str(folder / member))])
    writer.close()
    return folder / name


def merge_job(*paths: Path, script: str = "cat $(grep -v = inputFor_out.txt | grep . ) > out.txt") -> dict:
    job = shell_job(1, script, outputs=("out.txt",), eventServiceMerge="True")
    return job | {
        "inFiles": ",".join(f"zip://{path.name}" for path in paths),
        "scopeIn": ",".join("test" for _ in paths),
        "inFilePaths": ",".join(map(str, paths)),
        "writeToFile": "inputFor_out.txt:a,b,c",
        "jobPars": job["jobPars"] + " @inputFor_out.txt",
    }


def test_archives_among_the_inputs_are_taken_apart_for_the_payload(tmp_path):
    first, second = archive(tmp_path, "1.tar", a="A\n", b="B\n"), archive(tmp_path, "2.tar", c="C\n")
    bench = Bench(tmp_path, DummySource([merge_job(first, second)]))
    assert bench.run(cleanup="none") == 0
    assert bench.final(1).error is None
    assert (bench.outputs / "out.txt").read_text() == "A\nB\nC\n"
    assert not (bench.directory(1) / "1.tar").exists()


@pytest.mark.parametrize("harm", ["cut", "gone", "noise"])
def test_archives_that_are_broken_or_lost_are_told_as_corrupted(tmp_path, harm):
    first, second = archive(tmp_path, "1.tar", a="A\n", b="B\n"), archive(tmp_path, "2.tar", c="C" * 5000)
    if harm == "gone":
        second.unlink()
    else:
        second.write_bytes(second.read_bytes()[:3000] if harm == "cut" else b"not a tar file" * 1000)
    bench = Bench(tmp_path, DummySource([merge_job(first, second)]))
    bench.run()
    final = bench.final(1)
    assert final.corrupted_files == ("2.tar",)
    assert final.error.code == (1171 if harm != "gone" else 1331)
    assert not (bench.outputs / "out.txt").exists()


def test_nothing_is_written_outside_the_jobs_directory(tmp_path):
    inside = tmp_path / "job"
    inside.mkdir()
    for name in ("../evil", "/tmp/evil-of-a-test"):
        path = inside / "x.zip"
        with zipfile.ZipFile(path, "w") as zipped:
            zipped.writestr(name, "evil")
        with pytest.raises(GetAdMismatch, match="not welcome"):
            unpack(path, inside)
    assert {p.name for p in tmp_path.iterdir()} == {"job"}


def test_links_and_devices_stay_in_the_archive(tmp_path):
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w") as tar:
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    assert unpack(path, tmp_path) == [] and list(tmp_path.iterdir()) == []


def test_zip_files_are_taken_apart_too(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as zipped:
        zipped.writestr("a/b.txt", "text")
    assert unpack(tmp_path / "x.zip", tmp_path) == ["a/b.txt"]
    assert (tmp_path / "a" / "b.txt").read_text() == "text"


def test_the_input_of_a_merge_job_is_found_by_the_number_of_its_object_store():
    store = Storage("OS", bucket="7", accesses=(Access("s3://os/bucket/"),))
    site = StagingSite(storages=(Storage("DISK", accesses=(Access("root://d//"),)), store))
    (place,) = sources_of(InputFile("x.tar", "mc", storage_id=7, path_convention=1000), "x.tar", site)
    assert isinstance(place, Endpoint)
    assert place.rse == "OS" and place.url.startswith("s3://os/bucket/transient/") and place.url.endswith("/x.tar")
