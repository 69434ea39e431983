"""Inputs of this machine that are not copied for a payload in a container: it reads them, and cannot change them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.system.sites import Site, make_site

DATA = "some events\n"
#: The payload copies what it reads, and then tries to spoil the original.
SPOIL = (
    "cat AOD.root > out.txt || exit 9; echo spoilt >> AOD.root; cp /etc/passwd AOD.root; true > AOD.root;"
    " chmod 0777 AOD.root; rm -f AOD.root; exit 0"
)


@pytest.fixture(params=["docker", "podman", "bubblewrap", "apptainer"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    return make_site(request, request.param, tmp_path)


def run(site: Site, queue: dict[str, Any], **more: Any) -> tuple[Path, dict[str, Any]]:
    """A job on such a queue that reads, and would spoil, a file of this machine; the file, and what is known of it."""
    source = site.folder / "storage" / "AOD.root"
    source.parent.mkdir()
    source.write_text(DATA)
    source.chmod(0o666)
    (site.folder / "work").mkdir()
    (site.folder / "work" / "queuedata.json").write_text(json.dumps({"Q": {"nickname": "Q", **queue}}))
    job = site.job(SPOIL, inFiles="AOD.root", inFilePaths=str(source), **more)
    assert site.start(job, "--queue", "Q").wait(120) == 0, site.log()
    told = site.show()
    assert told["outcome"] == "finished", (told["error"], site.log())
    (out,) = (site.folder / "work" / "storage").rglob("out.txt")
    assert out.read_text() == DATA, "the payload read the file"
    return source, {file["lfn"]: file for file in told["files"]}["AOD.root"]


def unspoilt(source: Path) -> bool:
    return source.read_text() == DATA and source.stat().st_mode & 0o777 == 0o666


def test_a_file_that_is_read_in_place_is_shown_and_cannot_be_changed(site: Site) -> None:
    source, told = run(site, {"direct_access_lan": True}, transferType="direct")
    assert told["state"] == "remote_io" and not (site.directory / "AOD.root").exists()
    assert unspoilt(source)


def test_a_file_that_is_linked_for_a_queue_with_mv_is_shown_and_cannot_be_changed(site: Site) -> None:
    source, told = run(site, {"copytools": {"mv": {"setup": ""}}})
    assert told["state"] == "transferred"
    assert [row["copytool"] for row in site.show()["transfers"] if row["lfn"] == "AOD.root"] == ["symlink"]
    assert unspoilt(source)
