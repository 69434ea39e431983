"""Classic methods for event ranges."""

from __future__ import annotations

from typing import Any

import msgspec

from pilot.server import outcomes, ranges
from pilot.server.classic.method import Answer, Call, Code, Method, Wrong, coded


async def _get_event_ranges(call: Call) -> Answer:
    wanted = call.number("nRanges")
    numbers = call.need("pandaID"), call.number("taskID"), call.number("jobsetID"), 10 if wanted is None else wanted
    return {"StatusCode": 0, "eventRanges": await call.server.do(lambda db, now: ranges.acquire(db, *numbers, now))}


async def _check_events_availability(call: Call) -> Answer:
    numbers = call.need("pandaID"), call.number("taskID"), call.number("jobsetID")
    return {"StatusCode": 0, "nEventRanges": await call.server.do(lambda db, now: ranges.available(db, *numbers))}


async def _update_event_ranges(call: Call) -> Answer:
    version = call.number("version") or 0
    try:
        entries: list[Any] = msgspec.json.decode(call.texts["eventRanges"], type=list)
    except msgspec.DecodeError as error:
        raise Wrong(f"eventRanges is no JSON list: {error}") from error
    told = list(outcomes.flattened(entries, version))
    if len(told) > outcomes.AT_MOST:
        return coded(Code.INVALID, f"at most {outcomes.AT_MOST} ranges in one call")
    returns, commands = await call.server.do(lambda db, now: outcomes.apply(db, told, version))
    return {"StatusCode": 0, "Returns": returns, "Command": commands}


async def _update_event_range(call: Call) -> Answer:
    told = [outcomes.Told(call.texts["eventRangeID"], call.texts["eventStatus"])]
    (stored,), commands = await call.server.do(lambda db, now: outcomes.apply(db, told, 0))
    code = Code.FAILED if stored is False else Code.SUCCESS
    return {"StatusCode": int(code), "Command": next(iter(commands.values()), None)}


class _JobOfTask(msgspec.Struct):
    task_id: int
    panda_id: int


async def _get_events_status(call: Call) -> Answer:
    """The bare map in both forms of the dialect: it has no StatusCode."""
    try:
        asked = msgspec.json.decode(call.texts["ids"], type=list[_JobOfTask])
    except msgspec.DecodeError as error:
        raise Wrong(f"ids is no JSON list of task_id and panda_id: {error}") from error
    pairs = [(one.task_id, one.panda_id) for one in asked]
    return msgspec.json.encode(await call.server.do(lambda db, now: ranges.statuses(db, pairs))).decode()


METHODS = (
    Method(
        "getEventRanges",
        _get_event_ranges,
        ("pandaID", "jobsetID"),
        ("taskID", "nRanges", "timeout", "scattered", "segment_id"),
    ),
    Method("checkEventsAvailability", _check_events_availability, ("pandaID", "jobsetID", "taskID"), ("timeout",)),
    Method("get_events_status", _get_events_status, ("ids",)),
    Method("updateEventRanges", _update_event_ranges, ("eventRanges",), ("version", "timeout")),
    Method(
        "updateEventRange",
        _update_event_range,
        ("eventRangeID", "eventStatus"),
        ("coreCount", "cpuConsumptionTime", "objstoreID", "timeout", "pandaID"),
    ),
)
