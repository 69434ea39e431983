"""Several destinations of one large file on real servers: one read, and never a cut file under its final name."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pilot.core.staging import ToolSettings
from pilot.core.transfer import Endpoint, Outcome, Transfer
from pilot.lib.program import own_command, own_environment
from tests.copytools.making import adler, carry
from tests.counted_disk import CountedDisk, counted_disk
from tests.system.test_staging_s3 import Bucket, words

SIZE = 29 * (1 << 20) + 12345
DATA = os.urandom(SIZE)


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that is busy with other things is no destination that hangs."""
    monkeypatch.setattr("pilot.lib.sharedread._PATIENCE_S", 600.0)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[CountedDisk]:
    with counted_disk(tmp_path / "counted", DATA) as made:
        yield made


class Storage:
    """A folder of a server, or a bucket: the URL of a new file there, and what has come of it."""

    def __init__(self, tool: str, url: str, settings: ToolSettings, read: Callable[[], bytes | None]) -> None:
        self.tool = tool
        self.url = url
        self.settings = settings
        self.read = read


def of_folder(tool: str, prefix: str, folder: str, name: str, settings: ToolSettings) -> Storage:
    path = Path(folder) / name
    return Storage(tool, f"{prefix}/{name}", settings, lambda: path.read_bytes() if path.exists() else None)


def xrootd_by(how: str, xrootd: dict[str, Any], name: str) -> Storage:
    if how == "package" and os.environ.get("CI") != "true":
        pytest.importorskip("XRootD")
    settings = ToolSettings(environment={**os.environ, **xrootd["env"]}, options={"xrootd": {"how": how}}, connect_s=3)
    return of_folder("xrootd", xrootd["root"], xrootd["folder"], name, settings)


def gfal_at(prefix: str, folder: str, name: str, request: pytest.FixtureRequest) -> Storage:
    gridftp, gfal, pki = (request.getfixturevalue(need) for need in ("gridftp", "gfal", "pki"))
    settings = ToolSettings(
        environment={**os.environ, **gridftp["env"], **gfal["env"]},
        options={"gfal": {"how": "bindings"}},
        proxy_file=pki["proxy"],
        ca_path=pki["certificates"],
    )
    return of_folder("gfal", prefix, folder, name, settings)


def in_bucket(endpoint: dict[str, Any], name: str) -> Storage:
    settings = words(endpoint)
    bucket = Bucket(endpoint, settings)
    return Storage("s3", bucket.url(name), settings, lambda: bucket.read(name))


@pytest.fixture(params=["xrdcp", "package", "gsiftp", "gfal-root", "rclone", "swift"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    name = f"fan-{os.getpid()}-{tmp_path.name}/f"
    if request.param in ("xrdcp", "package"):
        return xrootd_by(request.param, request.getfixturevalue("xrootd"), name)
    if request.param == "gsiftp":
        gridftp = request.getfixturevalue("gridftp")
        return gfal_at(gridftp["url"], gridftp["folder"], name, request)
    if request.param == "gfal-root":
        xrootd = request.getfixturevalue("xrootd")
        return gfal_at(xrootd["root"], xrootd["folder"], name, request)
    return in_bucket(request.getfixturevalue("s3" if request.param == "rclone" else "swift_s3"), name)


def send(disk: CountedDisk, storage: Storage, *more: str, **settings: Any) -> Outcome:
    targets = tuple(Endpoint(url) for url in (storage.url, *more))
    order = Transfer("f", (Endpoint(str(disk.path)),), targets, copytool=f"copy {storage.tool}")
    (outcome,) = carry([order], storage.settings, **settings)
    return outcome


def wait_until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_storage_and_a_folder_are_fed_from_one_read(storage: Storage, disk: CountedDisk, tmp_path: Path) -> None:
    outcome = send(disk, storage, str(tmp_path / "here" / "f"))
    assert outcome.failure is None, outcome.failure
    assert [attempt.copytool for attempt in outcome.attempts] == [storage.tool, "copy"]
    assert outcome.checksums == {"adler32": adler(DATA)[0].value}
    assert disk.taken == SIZE
    assert (tmp_path / "here" / "f").read_bytes() == DATA
    assert storage.read() == DATA


def test_of_a_file_that_breaks_off_nothing_is_left(storage: Storage, disk: CountedDisk, tmp_path: Path) -> None:
    disk.claimed += 1 << 20
    outcome = send(disk, storage, str(tmp_path / "here" / "f"), max_attempts=1)
    assert outcome.failure is not None
    failed = {attempt.copytool: attempt.failure for attempt in outcome.attempts}
    assert failed[storage.tool] is not None, "the storage had to refuse what is too short"
    assert storage.read() is None


def test_a_pilot_that_is_killed_in_the_middle_leaves_no_part_under_the_final_name(
    storage: Storage, disk: CountedDisk, tmp_path: Path
) -> None:
    if storage.tool == "xrootd" and storage.settings.options["xrootd"]["how"] == "package":
        pytest.skip("the server itself drops what was not closed, after ten minutes")
    disk.hold_from = 20 << 20
    entry = {
        "type": "transfer",
        "lfn": "f",
        "sources": [str(disk.path)],
        "targets": [storage.url, str(tmp_path / "here" / "f")],
        "copytool": f"copy {storage.tool}",
    }
    (tmp_path / "list.json").write_text(json.dumps([entry]))
    environment = {**own_environment(), **storage.settings.environment}
    environment["PYTHONPATH"] = ":".join(
        filter(None, (own_environment().get("PYTHONPATH", ""), storage.settings.environment.get("PYTHONPATH", "")))
    )
    command = own_command("transfer", str(tmp_path / "list.json"))
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        assert disk.held.wait(60), "it never came so far"
        if storage.tool != "s3":
            wait_until(lambda: storage.read() is not None)
        process.kill()
        disk.release()
    wait_until(lambda: storage.read() is None)
