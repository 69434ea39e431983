"""Archives of range outputs and a real object store that dies while it takes one."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pilot.plugins.sources.dummy_events import DummyEvents
from tests.integration.test_events_stores import bench_of, names_below, site, store
from tests.system.services import ports, venvs
from tests.system.services.ground import prepared

KEYS = ("EVENTSTESTKEY", "a-secret-of-this-test-alone")
LARGE = """
from pilot.events import ranges
for r in ranges():
    with open(f"out.{r.id}", "wb") as file:
        file.write(bytes(3_000_000))
    r.done(file.name)
"""


class Store:
    """rclone's S3 service on a folder, as slow as said."""

    def __init__(self, folder: Path, limit: str) -> None:
        self.data = folder / "s3"
        (self.data / "bucket").mkdir(parents=True)
        rclone = venvs.python(prepared(), "s3").parent / "rclone"
        (self.port,) = ports.free()
        self.process = subprocess.Popen(
            [rclone, "serve", "s3", "--config", folder / "rclone.conf", "--addr", f"127.0.0.1:{self.port}",
             "--auth-key", ",".join(KEYS), "--bwlimit", limit, "--vfs-cache-mode", "off", self.data],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        deadline = time.monotonic() + 30
        while not ports.answers(self.port):
            assert time.monotonic() < deadline and self.process.poll() is None
            time.sleep(0.05)

    def described(self) -> dict[str, Any]:
        protocols = [{"id": 1, "endpoint": f"s3://127.0.0.1:{self.port}", "path": "/bucket/"}]
        access = {"read_lan": protocols, "write_lan": protocols}
        return {"type": "OS_ES", "arprotocols": access, "resource": {"bucket_id": 42}}

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def keys(s3: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """`s3` is asked for because it brings rclone."""
    for name in ("AWS_ACCESS_KEY_ID", "S3_ACCESS_KEY"):
        monkeypatch.setenv(name, KEYS[0])
    for name in ("AWS_SECRET_ACCESS_KEY", "S3_SECRET_KEY"):
        monkeypatch.setenv(name, KEYS[1])
    monkeypatch.setenv("AWS_REGION", "us-east-1")


@pytest.fixture
def quick(tmp_path: Path, keys: None) -> Iterator[Store]:
    made = Store(tmp_path, "off")
    yield made
    made.close()


@pytest.fixture
def slow(tmp_path: Path, keys: None) -> Iterator[Store]:
    made = Store(tmp_path, "2M")
    yield made
    made.close()


def places(tmp_path: Path, here: Store) -> dict[str, Any]:
    stores = {"OS": here.described(), "SPARE": store(tmp_path / "spare", 43)}
    return site(tmp_path, stores, es_events=["OS"], es_failover=["SPARE"])


def test_archives_are_in_the_object_store_when_the_server_hears_of_them(tmp_path: Path, quick: Store) -> None:
    events = DummyEvents(events=8, per_range=1)
    bench = bench_of(tmp_path, events, LARGE, zipPerMB="5")
    assert bench.run(patience_s=90, **places(tmp_path, quick)) == 0
    assert len(events.finished) == 8 and names_below(quick.data) == sorted(f"out.{id}" for id in events.finished)
    assert {c.archive.storage_id for c in events.archives} == {"42"}


def test_a_store_that_dies_in_the_middle_of_an_archive_loses_no_range(tmp_path: Path, slow: Store) -> None:
    """What it had taken as a whole before stays there; everything else is in the fall-back, each range once."""
    events = DummyEvents(events=8, per_range=1)
    bench = bench_of(tmp_path, events, LARGE, zipPerMB="5")
    killed = []

    def kill_it() -> None:
        slow.process.kill()
        killed.append(time.monotonic())

    def look() -> None:
        service = bench.agent.runner.events._service
        hands = service and service._jobs.get("1.1")
        if hands and hands.job._outputs._trying:
            bench.means.loop.after(0.7, kill_it)
        else:
            bench.means.loop.after(0.02, look)

    bench.at(0.1, look)
    assert bench.run(patience_s=120, **places(tmp_path, slow)) == 0
    assert killed and len(events.finished) == 8 and not events.conflicts
    told = {c.archive.lfn: c.archive for c in events.archives}
    assert sum(len(c.updates) for c in events.archives) == 8
    spare = {path.name: path for path in (tmp_path / "spare").rglob("*.tar")}
    assert spare, "it died too late to be of any use to this test"
    for lfn, archive in told.items():
        path = spare[lfn] if archive.storage_id == "43" else next(slow.data.rglob(lfn))
        assert path.stat().st_size == archive.size
    assert set(spare) == {lfn for lfn, archive in told.items() if archive.storage_id == "43"}
