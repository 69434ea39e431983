"""Fetching queue and storage data: places in order, a cache with an age, time limits, what is left when all fail."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pilot.core.definition import parse
from pilot.core.errors import JsonRetrievalTimeout, QueuedataNotDownloaded, QueuedataNotOk
from pilot.core.exitcodes import exit_code_of
from pilot.info.places import Place, read_file
from pilot.info.service import InfoService, InfoSettings
from tests.scripted_server import Scripted, Server

QUEUE = {"nickname": "Q", "panda_resource": "Q", "maxtime": 100, "copytools": {"copy": {}}}
STORAGES = {"A": {"type": "DATADISK"}, "B": {"type": "DATADISK"}, "C": {}}


@pytest.fixture
def script() -> Iterator[Scripted]:
    made = Scripted()
    server = Server(made)
    yield made
    server.close()


def never(seconds: float) -> bool:
    """Wait for nothing."""
    return False


def service(tmp_path: Path, *main: Place, **more: Any) -> InfoService:
    return InfoService(InfoSettings(queue="Q", main=main, cache_dir=str(tmp_path / "cache"), **more), never)


def test_the_first_place_that_has_the_queue_is_taken(tmp_path: Path, script: Scripted) -> None:
    script.routes["/Q.json"] = lambda asked: QUEUE
    places = [Place("LOCAL", str(tmp_path / "none.json")), Place("URL", script.url + "/{queue}.json")]
    info = service(tmp_path, *places)
    info.load()
    assert (info.queue().max_time_s, info.origins["main"]) == (100, "URL")
    assert script.paths() == ["/Q.json"]


def test_a_young_cache_saves_the_network_and_an_old_one_the_day(tmp_path: Path, script: Scripted) -> None:
    script.routes["/q"] = lambda asked: QUEUE
    place = Place("URL", script.url + "/q")
    service(tmp_path, place).load()
    service(tmp_path, place).load()
    assert len(script.asked) == 1
    old = time.time() - 4 * 3600
    os.utime(tmp_path / "cache/queue.Q.json", (old, old))
    script.routes["/q"] = lambda asked: (500, "down")
    info = service(tmp_path, place)
    info.load()
    assert len(script.asked) == 4 and info.origins["main"].startswith("cache") and info.queue().max_time_s == 100


@pytest.mark.parametrize("answer", [(500, "x"), (404, "x"), "garbage", '{"error": "no queue"}', "[]", '{"X": {}}'])
def test_without_any_source_the_pilot_ends_with_71_or_72(tmp_path: Path, script: Scripted, answer: Any) -> None:
    script.routes["/q"] = lambda asked: answer
    with pytest.raises((QueuedataNotDownloaded, QueuedataNotOk)) as caught:
        service(tmp_path, Place("URL", script.url + "/q"), rounds=2).load()
    assert exit_code_of(caught.value.code) == (71 if isinstance(answer, tuple) else 72)
    assert len(script.asked) == 2


def test_a_server_that_comes_back_is_asked_again(tmp_path: Path, script: Scripted) -> None:
    answers: list[Any] = [(503, "busy"), QUEUE]
    script.routes["/q"] = lambda asked: answers.pop(0)
    waits: list[float] = []

    def wait(seconds: float) -> bool:
        waits.append(seconds)
        return False

    InfoService(InfoSettings(queue="Q", main=(Place("URL", script.url + "/q"),), pause_s=7), wait).load()
    assert waits == [7]


def test_a_missing_file_is_not_waited_for(tmp_path: Path) -> None:
    def wait(seconds: float) -> bool:
        raise AssertionError("a file does not come by waiting")

    with pytest.raises(QueuedataNotDownloaded, match="No such file"):
        InfoService(InfoSettings(queue="Q", main=(Place("LOCAL", str(tmp_path / "no")),)), wait).load()


def test_a_file_system_that_hangs_is_given_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "hangs")
    with pytest.raises(JsonRetrievalTimeout):
        read_file(str(tmp_path / "hangs"), 0.05)
    # lets the reader go
    with open(tmp_path / "hangs", "wb"):
        pass


def test_details_complete_the_main_record_and_may_be_missing(tmp_path: Path) -> None:
    (tmp_path / "main").write_text(json.dumps(QUEUE))
    (tmp_path / "details").write_text(json.dumps({"Q": {"maxrss": 5, "maxtime": 1}}))
    main = Place("M", str(tmp_path / "main"))
    info = service(tmp_path, main, details=(Place("D", str(tmp_path / "details")),))
    info.load()
    assert (info.queue().max_memory_mb, info.queue().max_time_s) == (5, 100)
    bare = InfoService(InfoSettings(queue="Q", main=(main,), details=(Place("D", str(tmp_path / "no")),)), never)
    bare.load()
    assert bare.queue().max_time_s == 100


def test_a_job_sees_its_overlays_and_the_configuration_wins(tmp_path: Path) -> None:
    (tmp_path / "q").write_text(json.dumps({**QUEUE, "astorages": {"write_lan": ["A"]}}))
    (tmp_path / "s").write_text(json.dumps(STORAGES))
    info = InfoService(
        InfoSettings(
            queue="Q",
            main=(Place("L", str(tmp_path / "q")),),
            storages=(Place("L", str(tmp_path / "s")),),
            overlay={"maxrss": 9},
        ),
        never,
    )
    info.load()
    pars = "--overwriteQueueData={'maxtime': 7, 'maxrss': 1} --overwriteStorageData={'A': {'state': 'X'}}"
    job = parse({"PandaID": 1, "jobPars": pars, "inFiles": "f", "ddmEndPointIn": "B"})
    assert (info.queue(job).max_time_s, info.queue(job).max_memory_mb, info.queue().max_time_s) == (7, 9, 100)
    site = info.site(job)
    assert [(s.rse, s.state) for s in site.storages] == [("A", "X"), ("B", "ACTIVE")]
    assert [s.rse for s in info.site().storages] == ["A"]


def test_no_place_at_all_is_a_queue_without_limits(tmp_path: Path) -> None:
    info = service(tmp_path)
    info.load()
    assert info.queue().name == "Q" and info.site().storages == ()


def test_a_broken_or_unwritable_cache_costs_nothing_but_time(tmp_path: Path, script: Scripted) -> None:
    script.routes["/q"] = lambda asked: QUEUE
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/queue.Q.json").write_text('{"half')
    service(tmp_path, Place("URL", script.url + "/q")).load()
    assert json.loads((tmp_path / "cache/queue.Q.json").read_text()) == QUEUE
    (tmp_path / "file").write_text("")
    settings = InfoSettings(queue="Q", main=(Place("URL", script.url + "/q"),), cache_dir=str(tmp_path / "file/x"))
    InfoService(settings, never).load()
