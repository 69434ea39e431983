"""The module `event`: event ranges for pilots."""

from __future__ import annotations

import msgspec

from pilot.server import outcomes, ranges
from pilot.server.fields import Kind
from pilot.server.v1.method import Call, Envelope, Method, done, refused
from pilot.server.v1.params import may, must

_ACQUIRE = (
    must("job_id", Kind.INT), must("jobset_id", Kind.INT), may("task_id", Kind.INT), may("n_ranges", Kind.INT, 10),
    may("timeout", Kind.INT, 60), may("scattered", Kind.BOOL, False), may("segment_id", Kind.INT),
)  # fmt: skip
_COUNT = (
    must("job_id", Kind.INT), must("jobset_id", Kind.INT), must("task_id", Kind.INT), may("timeout", Kind.INT, 60),
)  # fmt: skip
_UPDATE = (must("event_ranges", Kind.STR), may("timeout", Kind.INT, 120), may("version", Kind.INT, 0))
_SINGLE = (
    must("event_range_id", Kind.STR), must("event_range_status", Kind.STR), may("core_count", Kind.INT),
    may("cpu_consumption_time", Kind.FLOAT), may("object_store_id", Kind.INT), may("timeout", Kind.INT, 60),
)  # fmt: skip
_STATUSES = (must("job_task_ids", Kind.STR),)


class _JobOfTask(msgspec.Struct):
    task_id: int
    job_id: int


async def _acquire(call: Call) -> Envelope:
    """The ranges as a plain list: the answer of this dialect has no inner StatusCode."""
    args = call.args
    numbers = args["job_id"], args["task_id"], args["jobset_id"], args["n_ranges"]
    return done(await call.server.do(lambda db, now: ranges.acquire(db, *numbers, now)))


async def _count(call: Call) -> Envelope:
    numbers = call.args["job_id"], call.args["task_id"], call.args["jobset_id"]
    return done(await call.server.do(lambda db, now: ranges.available(db, *numbers)))


async def _update(call: Call) -> Envelope:
    version = call.args["version"]
    try:
        entries = msgspec.json.decode(call.args["event_ranges"], type=list)
    except msgspec.DecodeError as error:
        return refused(f"event_ranges is no JSON list: {error}")
    told = list(outcomes.flattened(entries, version))
    if len(told) > outcomes.AT_MOST:
        return refused(f"at most {outcomes.AT_MOST} ranges in one call")
    returns, commands = await call.server.do(lambda db, now: outcomes.apply(db, told, version))
    return done({"Returns": returns, "Commands": commands})


async def _update_single(call: Call) -> Envelope:
    told = [outcomes.Told(call.args["event_range_id"], call.args["event_range_status"])]
    (stored,), commands = await call.server.do(lambda db, now: outcomes.apply(db, told, 0))
    data = {"Command": next(iter(commands.values()), None)}
    return refused("the range cannot be updated") if stored is False else done(data)


async def _statuses(call: Call) -> Envelope:
    try:
        asked = msgspec.json.decode(call.args["job_task_ids"], type=list[_JobOfTask])
    except msgspec.DecodeError as error:
        return refused(f"job_task_ids is no JSON list of task_id and job_id: {error}")
    pairs = [(one.task_id, one.job_id) for one in asked]
    return done(await call.server.do(lambda db, now: ranges.statuses(db, pairs)))


METHODS = (
    Method("event/acquire_event_ranges", "POST", _ACQUIRE, _acquire, production=True),
    Method("event/get_available_event_range_count", "GET", _COUNT, _count, production=True),
    Method("event/update_event_ranges", "POST", _UPDATE, _update, production=True),
    Method("event/update_single_event_range", "POST", _SINGLE, _update_single, production=True),
    Method("event/get_event_range_statuses", "GET", _STATUSES, _statuses),
)
