"""Event ranges over HTTP, with a server that fails after it has stored what it was told."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest

from pilot.core.errors import CommunicationFailure, OutcomesNotStored
from pilot.core.ranges import Archive, Chunk, Consumer, RangeStatus, RangeUpdate
from pilot.plugins.sources.event_calls import encode_chunks
from pilot.plugins.sources.events import EventSource
from pilot.plugins.sources.panda_events import PandaEvents, pieces
from pilot.plugins.sources.panda_settings import DialectName, PandaSettings
from tests.scripted_server import Asked, Scripted, Server

CONSUMER = Consumer(job_id=5, task_id=7, jobset_id=6)
DONE, FAILED = RangeStatus.FINISHED, RangeStatus.FAILED
RANGE = {"eventRangeID": "7-5-1-1-1", "startEvent": 1, "lastEvent": 10, "LFN": "f", "GUID": "g", "scope": "s", "hp": 3}
UPDATE, STATES = "/api/v1/event/update_event_ranges", "/api/v1/event/get_event_range_statuses"


def good(data: Any) -> dict[str, Any]:
    return {"success": True, "message": "", "data": data}


@pytest.fixture
def script() -> Iterator[Scripted]:
    made = Scripted()
    server = Server(made)
    yield made
    server.close()


Events = Callable[..., PandaEvents]


@pytest.fixture
def events() -> Iterator[Events]:
    """Makes clients and closes them in the end."""
    with ExitStack() as stack:

        def make(script: Scripted, dialect: DialectName = DialectName.V1) -> PandaEvents:
            return stack.enter_context(closing(PandaEvents(PandaSettings(url=script.url, queue="Q", dialect=dialect))))

        yield make


def test_it_is_an_event_source(events: Events, script: Scripted) -> None:
    assert isinstance(events(script), EventSource)


@pytest.mark.parametrize(
    "data", [[RANGE], {"StatusCode": 0, "eventRanges": [RANGE]}, {"eventRanges": json.dumps([RANGE])}]
)
def test_ranges_are_read_in_every_form_that_is_known(events: Events, script: Scripted, data: Any) -> None:
    script.routes["/api/v1/event/acquire_event_ranges"] = lambda asked: good(data)
    granted = events(script).acquire(CONSUMER, 2)
    (one,) = granted.ranges
    assert (one.id, one.events, one.lfn, one.extra) == ("7-5-1-1-1", 10, "f", {"hp": 3}) and granted.exhausted
    assert script.asked[-1].json() == {"job_id": 5, "jobset_id": 6, "task_id": 7, "n_ranges": 2, "scattered": False}


def test_a_full_answer_does_not_say_that_there_are_no_more(events: Events, script: Scripted) -> None:
    script.routes["/api/v1/event/acquire_event_ranges"] = lambda asked: good([RANGE])
    assert not events(script).acquire(CONSUMER, 1).exhausted


def test_the_classic_dialect_has_json_texts_inside_flat_text(events: Events, script: Scripted) -> None:
    script.routes["/server/panda/getEventRanges"] = lambda asked: "StatusCode=0&eventRanges=" + json.dumps([RANGE])
    script.routes["/server/panda/updateEventRanges"] = lambda asked: {
        "StatusCode": 0, "Returns": "[true, false]", "Command": '{"5": "softkill", "6": null}',
    }  # fmt: skip
    script.routes["/server/panda/checkEventsAvailability"] = lambda asked: "StatusCode=0&nEventRanges=4"
    classic = events(script, DialectName.CLASSIC)
    assert len(classic.acquire(CONSUMER, 1).ranges) == 1
    told = classic.update(CONSUMER, [Chunk((RangeUpdate("a", DONE), RangeUpdate("b", FAILED)))], version=0)
    assert told.stored == (True, False) and told.commands == {5: "softkill"}
    assert json.loads(script.asked[-1].form()["eventRanges"])[0] == {"eventRangeID": "a", "eventStatus": "finished"}
    assert classic.count(CONSUMER) == 4


def test_archives_and_single_outputs_have_the_form_of_their_version() -> None:
    zipped = Chunk((RangeUpdate("a", DONE, cores=8, cpu_s=1.23456),), Archive("z", "42", 100, "0a", 10))
    alone = Chunk((RangeUpdate("b", DONE, path="root://x", size=3, adler32="1", events=5), RangeUpdate("c", FAILED)))
    assert encode_chunks([zipped, alone], 1) == [
        {
            "zipFile": {"lfn": "z", "fsize": 100, "adler32": "0a", "numEvents": 10, "objstoreID": 42},
            "eventRanges": [
                {"eventRangeID": "a", "eventStatus": "finished", "coreCount": 8, "cpuConsumptionTime": 1.235}
            ],
        },
        {
            "esOutput": {"numEvents": 5},
            "eventRanges": [
                {"eventRangeID": "b", "eventStatus": "finished", "pfn": "root://x", "fsize": 3, "adler32": "1"}
            ],
        },
        {"eventRangeID": "c", "eventStatus": "failed"},
    ]
    assert [item["eventRangeID"] for item in encode_chunks([zipped, alone], 0)] == ["a", "b", "c"]


def test_an_archive_always_tells_its_storage_and_a_range_tells_none_but_by_number() -> None:
    chunk = Chunk((RangeUpdate("a", DONE, storage_id="RSE"), RangeUpdate("b", DONE, storage_id="7")), Archive("z"))
    (item,) = encode_chunks([chunk], 1)
    assert item["zipFile"]["objstoreID"] == ""
    assert [update.get("objstoreID") for update in item["eventRanges"]] == [None, 7]


def test_an_update_is_a_json_text_inside_json(events: Events, script: Scripted) -> None:
    script.routes[UPDATE] = lambda asked: good({"Returns": [True], "Commands": {"5": "tobekilled"}})
    told = events(script).update(CONSUMER, [Chunk((RangeUpdate("a", DONE),))])
    assert told.stored == (True,) and told.commands == {5: "tobekilled"}
    message = script.asked[-1].json()
    assert message["version"] == 1 and json.loads(message["event_ranges"])[0]["eventRangeID"] == "a"


CHUNK = Chunk((RangeUpdate("a", DONE), RangeUpdate("b", FAILED), RangeUpdate("c", RangeStatus.RUNNING)))


@pytest.mark.parametrize("broken", [(500, "unhashable"), "{'Returns', '[true]'}", good(["Returns"])])
def test_a_server_that_fails_after_storing_is_asked_what_it_knows(
    events: Events, script: Scripted, broken: Any
) -> None:
    script.routes[UPDATE] = lambda asked: broken
    script.routes[STATES] = lambda asked: good({"5": {"a": {"status": "finished"}, "b": {"status": "failed"}}})
    assert events(script).update(CONSUMER, [CHUNK]).stored == (True, True, None)
    (pair,) = json.loads(script.asked[-1].query["job_task_ids"][0])
    assert (pair["task_id"], pair["job_id"], pair["panda_id"]) == (7, 5, 5)


def test_a_range_whose_failure_is_final_is_known_by_another_attempt(events: Events, script: Scripted) -> None:
    script.routes[UPDATE] = lambda asked: (500, "unhashable")
    script.routes[STATES] = lambda asked: good({"5": {"7-5-1-11-1": {"status": "failed"}}})
    fatal = Chunk((RangeUpdate("7-5-1-11-3", RangeStatus.FATAL),))
    assert events(script).update(CONSUMER, [fatal]).stored == (True,)


CLASSIC_UPDATE, CLASSIC_STATES = "/server/panda/updateEventRanges", "/server/panda/get_events_status"


@pytest.mark.parametrize("broken", [(500, "after the commit"), "<html>oops</html>"])
def test_so_is_one_that_speaks_the_classic_dialect(events: Events, script: Scripted, broken: Any) -> None:
    script.routes[CLASSIC_UPDATE] = lambda asked: broken
    script.routes[CLASSIC_STATES] = lambda asked: {"5": {"a": {"status": "finished"}, "b": {"status": "failed"}}}
    assert events(script, DialectName.CLASSIC).update(CONSUMER, [CHUNK]).stored == (True, True, None)
    assert json.loads(script.asked[-1].form()["ids"])[0]["panda_id"] == 5


@pytest.mark.parametrize("answer", [(403, "forbidden"), (404, "no such method"), {"5": {"a": {"status": "sent"}}}])
def test_a_classic_server_that_cannot_tell_is_told_again(events: Events, script: Scripted, answer: Any) -> None:
    script.routes[CLASSIC_UPDATE] = lambda asked: (500, "oops")
    script.routes[CLASSIC_STATES] = lambda asked: answer
    with pytest.raises(OutcomesNotStored, match="oops") as caught:
        events(script, DialectName.CLASSIC).update(CONSUMER, [CHUNK])
    assert caught.value.retry


@pytest.mark.parametrize("b", ["sent", "running", "1", "ready", None])
def test_what_was_not_stored_is_to_be_said_again(events: Events, script: Scripted, b: str | None) -> None:
    script.routes[UPDATE] = lambda asked: (500, "before the commit")
    known = {"a": {"status": "finished"}} | ({"b": {"status": b}} if b else {})
    script.routes[STATES] = lambda asked: good({"5": known})
    with pytest.raises(OutcomesNotStored) as caught:
        events(script).update(CONSUMER, [CHUNK])
    assert caught.value.retry


@pytest.mark.parametrize("status", [408, 429, 502, 503, 504])
def test_what_a_proxy_says_of_a_server_that_is_away_tells_nothing_of_the_updates(
    events: Events, script: Scripted, status: int
) -> None:
    script.routes[UPDATE] = lambda asked: (status, "later")
    with pytest.raises(CommunicationFailure, match="later"):
        events(script).update(CONSUMER, [CHUNK])


@pytest.mark.parametrize("status", [403, 500])
def test_a_server_that_fails_at_everything_has_not_stored_either(events: Events, script: Scripted, status: int) -> None:
    script.routes[UPDATE] = script.routes[STATES] = lambda asked: (status, "no")
    with pytest.raises(OutcomesNotStored, match=str(status)):
        events(script).update(CONSUMER, [CHUNK])


def test_a_database_that_timed_out_has_stored_nothing(events: Events, script: Scripted) -> None:
    script.routes[UPDATE] = lambda asked: {"success": False, "message": "Timed out", "data": None}
    with pytest.raises(OutcomesNotStored, match="Timed out"):
        events(script).update(CONSUMER, [CHUNK])
    assert script.paths() == [UPDATE]


def test_what_is_refused_is_not_stored(events: Events, script: Scripted) -> None:
    script.routes[UPDATE] = lambda asked: (403, "no role")
    with pytest.raises(OutcomesNotStored, match="no role"):
        events(script).update(CONSUMER, [CHUNK])


def test_ready_ranges_are_counted(events: Events, script: Scripted) -> None:
    def count(asked: Asked) -> Any:
        assert asked.query == {"job_id": ["5"], "jobset_id": ["6"], "task_id": ["7"]}
        return good(12)

    script.routes["/api/v1/event/get_available_event_range_count"] = count
    assert events(script).count(CONSUMER) == 12


def test_garbage_ranges_are_no_ranges(events: Events, script: Scripted) -> None:
    for data in ("x", [{"eventRangeID": "a"}], ["x"], [{"eventRangeID": "a", "startEvent": "x", "lastEvent": 2}]):
        answer = good(data)
        script.routes["/api/v1/event/acquire_event_ranges"] = lambda asked, answer=answer: answer  # type: ignore[misc]
        with pytest.raises(CommunicationFailure):
            events(script).acquire(CONSUMER, 1)


def test_many_updates_go_in_pieces_that_keep_archives_whole() -> None:
    many = Chunk(tuple(RangeUpdate(str(n), DONE) for n in range(5)))
    whole = Chunk(tuple(RangeUpdate(str(n), DONE) for n in range(4)), Archive("z"))
    groups = [[len(chunk.updates) for chunk in group] for group in pieces([many, whole], 3)]
    assert groups == [[3], [2], [4]]
