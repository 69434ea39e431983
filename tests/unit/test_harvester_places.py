"""What a worker of Harvester knows of its queue without asking anybody, and how it shows that it is alive."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pilot.cli.harvester import keep_beating
from pilot.cli.queue import queue_of
from pilot.core.definition import parse
from pilot.core.settings import Settings

JOB = parse({"PandaID": 7})


def worker(ap: Path) -> Settings:
    return Settings(source="harvester", queue="Q", experiment="atlas", harvester_workdir=str(ap))


@pytest.mark.parametrize("of_job", [False, True])
def test_a_worker_finds_queue_data_where_batch_scripts_leave_them(tmp_path: Path, of_job: bool) -> None:
    (tmp_path / "queuedata.json").write_text(json.dumps({"nickname": "Q", "timefloor": 30, "status": "online"}))
    ap = tmp_path / "11" if of_job else tmp_path
    ap.mkdir(exist_ok=True)
    assert queue_of(worker(ap), tmp_path / "work", {}).time_floor_s == 1800


def test_a_worker_without_queue_data_asks_nobody_beyond_the_network(tmp_path: Path) -> None:
    known = queue_of(worker(tmp_path), tmp_path / "work", {"ATLAS_SW_BASE": str(tmp_path / "none")})
    assert known.queue_for(JOB).name == "Q" and known.label == ""


def test_a_worker_shows_more_than_twice_a_minute_that_it_is_alive() -> None:
    beats: list[str] = []
    waits: list[float] = []
    means: Any = SimpleNamespace(
        source=SimpleNamespace(beat=lambda: beats.append("beat")),
        staging=SimpleNamespace(submit=lambda kind, work, then: work()),
        loop=SimpleNamespace(after=lambda seconds, again: waits.append(seconds)),
    )
    keep_beating(means)
    assert beats == ["beat"] and waits and max(waits) < 30
