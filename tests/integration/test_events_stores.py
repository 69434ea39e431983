"""Where archives of range outputs go: to the object store of events, to the fall-back where that takes nothing."""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from pilot.core.ranges import RangeStatus
from pilot.plugins.sources.dummy import DummySource
from pilot.plugins.sources.dummy_events import DummyEvents
from tests.bench import Bench, shell_job

WORK = """
import time
from pilot.events import ranges
for r in ranges():
    with open(f"out.{r.id}", "w") as file:
        file.write(f"{r.start_event} " * 100)
    r.done(file.name)
"""


def store(path: Path, bucket: int) -> dict[str, Any]:
    protocols = [{"id": 1, "endpoint": f"file://{path}", "path": "/"}]
    access = {"read_lan": protocols, "write_lan": protocols}
    return {"type": "OS_ES", "arprotocols": access, "resource": {"bucket_id": bucket}}


def site(tmp_path: Path, stores: dict[str, dict[str, Any]], **astorages: list[str]) -> dict[str, Any]:
    tools = {"es_events": ["objectstore", "copy"], "es_failover": ["copy"], "write_lan": ["copy"]}
    record = {"nickname": "Q", "copytools": {"copy": {}, "objectstore": {}}, "acopytools": tools}
    record["astorages"] = {"write_lan": ["DISK"], **astorages}
    (tmp_path / "queue.json").write_text(json.dumps(record))
    (tmp_path / "storages.json").write_text(json.dumps({"DISK": store(tmp_path / "disk", 0), **stores}))
    urls = {"queuedata_url": str(tmp_path / "queue.json"), "storagedata_url": str(tmp_path / "storages.json")}
    return {"queue": "Q", "output_dir": "", **urls, "stageout_attempts": 1}


def bench_of(tmp_path: Path, events: DummyEvents, code: str = WORK, **more: Any) -> Bench:
    job = shell_job(1, f"exec {shlex.quote(sys.executable)} -c {shlex.quote(code)}", eventService="True", **more)
    source = DummySource([job])
    source.events = events
    return Bench(tmp_path, source)


def names_below(folder: Path) -> list[str]:
    found: list[str] = []
    for path in sorted(folder.rglob("EventService_premerge_*.tar")):
        with tarfile.open(path) as archive:
            found += archive.getnames()
    return sorted(found)


def test_archives_go_to_the_object_store_of_events_and_its_id_is_told(tmp_path: Path) -> None:
    events = DummyEvents(events=10, per_range=1)
    places = site(tmp_path, {"OS": store(tmp_path / "os", 42)}, es_events=["OS"])
    bench = bench_of(tmp_path, events)
    assert bench.run(patience_s=40, **places) == 0
    assert names_below(tmp_path / "os") == sorted(f"out.{id}" for id in events.finished) and len(events.finished) == 10
    assert {(c.archive.storage_id, c.archive.path_convention) for c in events.archives} == {("42", 1000)}
    (path,) = (tmp_path / "os").rglob("*.tar")
    assert "transient" in path.parts and events.archives[0].archive.size == path.stat().st_size


def test_where_the_object_store_takes_nothing_the_fall_back_does(tmp_path: Path) -> None:
    (tmp_path / "os").write_text("no directory")
    events = DummyEvents(events=10, per_range=1)
    stores = {"OS": store(tmp_path / "os", 42), "SPARE": store(tmp_path / "spare", 43)}
    bench = bench_of(tmp_path, events)
    assert bench.run(patience_s=40, **site(tmp_path, stores, es_events=["OS"], es_failover=["SPARE"])) == 0
    assert len(names_below(tmp_path / "spare")) == 10 == len(events.finished)
    assert {c.archive.storage_id for c in events.archives} == {"43"}


def test_what_no_storage_takes_is_told_to_have_failed_with_the_reason(tmp_path: Path) -> None:
    for name in ("os", "disk"):
        (tmp_path / name).write_text("no directory")
    events = DummyEvents(events=5, per_range=1)
    bench = bench_of(tmp_path, events)
    bench.run(patience_s=60, **site(tmp_path, {"OS": store(tmp_path / "os", 42)}, es_events=["OS"]))
    assert {update.status for update in events.told.values()} == {RangeStatus.FAILED} and len(events.told) == 5
    assert all("could not be stored" in update.error_text for update in events.told.values())
    assert bench.final(1).events == 0, "events whose outputs are lost do not count"


@pytest.mark.parametrize("signal_", [signal.SIGTERM, signal.SIGUSR1, signal.SIGXCPU])
def test_a_warning_has_everything_stored_and_told_before_the_end(tmp_path: Path, signal_: signal.Signals) -> None:
    """Nothing is due yet, by size or age: only the signal makes the archive go."""
    events = DummyEvents(events=100_000, per_range=1)
    bench = bench_of(tmp_path, events, WORK.replace("    r.done", "    time.sleep(0.02)\n    r.done"))

    def when_some_are_packed() -> None:
        hands = bench.agent.runner.events._service and bench.agent.runner.events._service._jobs.get("1.1")
        if hands and hands.job.summary().finished >= 20:
            assert not events.told, "nothing was told before"
            os.kill(os.getpid(), signal_)
        else:
            bench.means.loop.after(0.05, when_some_are_packed)

    bench.at(0.2, when_some_are_packed)
    bench.run(patience_s=60, **site(tmp_path, {"OS": store(tmp_path / "os", 42)}, es_events=["OS"]))
    assert len(events.finished) >= 20 and not events.conflicts
    assert names_below(tmp_path / "os") == sorted(f"out.{id}" for id in events.finished)
