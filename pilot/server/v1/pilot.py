"""The module `pilot`: acquiring and updating jobs."""

from __future__ import annotations

import sqlite3
from typing import Any

from pilot.server import dispatch, listing
from pilot.server.fields import FIELDS, Kind
from pilot.server.jobserver import JobServer
from pilot.server.refusal import BadParameter, BadType, StoreError
from pilot.server.states import ACCEPTED
from pilot.server.updates import Update, update
from pilot.server.v1.method import Call, Envelope, Method, done, refused
from pilot.server.v1.params import check, may, must

_TEMPORARY = 30
_INVALID = 50

_ACQUIRE = (
    must("site_name", Kind.STR), may("timeout", Kind.INT, 60), may("memory", Kind.INT),
    may("disk_space", Kind.INT), may("prod_source_label", Kind.STR), may("node", Kind.STR),
    may("computing_element", Kind.STR), may("prod_user_id", Kind.STR), may("get_proxy_key", Kind.STR),
    may("task_id", Kind.INT), may("n_jobs", Kind.INT, 1), may("background", Kind.BOOL), may("resource_type", Kind.STR),
    may("harvester_id", Kind.STR), may("worker_id", Kind.INT), may("scheduler_id", Kind.STR), may("job_type", Kind.STR),
    may("via_topic", Kind.BOOL), may("remaining_time", Kind.ANY),
    may("target_architecture", Kind.ANY),
)  # fmt: skip
_UPDATE = (
    must("job_id", Kind.INT), must("job_status", Kind.STR), may("attempt_nr", Kind.INT), may("timeout", Kind.INT, 60),
    *(may(field.v1, field.kind, field.default) for field in FIELDS),
)  # fmt: skip
_BULK = (must("job_list", Kind.OBJECTS), may("harvester_id", Kind.STR))
_STATUS = (must("job_ids", Kind.INTS), may("timeout", Kind.INT, 60))


async def _acquire_jobs(call: Call) -> Envelope:
    args = call.args
    user = args["prod_user_id"]
    if not call.caller.is_production:
        if args["prod_source_label"] != "user":
            return refused("no production/pilot role in VOMS FQANs or non pilot owner")
        user = call.caller.dn
    wish = dispatch.Wish(
        site=args["site_name"], label=args["prod_source_label"], jobs=args["n_jobs"],
        memory_mb=args["memory"] or 0, disk_mb=args["disk_space"] or 0, node=args["node"],
        computing_element=args["computing_element"], user=user, task_id=args["task_id"],
        resource_type=args["resource_type"], remaining_s=_seconds(args["remaining_time"]),
        harvester_id=args["harvester_id"] or args["scheduler_id"], worker_id=args["worker_id"],
    )  # fmt: skip
    jobs = await call.server.do(lambda db, now: dispatch.acquire(db, wish, now))
    return done({"StatusCode": 0, "jobs": jobs}) if jobs else refused("No jobs in PanDA")


def _seconds(told: object) -> int | None:
    """The remaining time; what is no positive number says nothing."""
    return int(told) if isinstance(told, int | float) and told > 0 else None


def _told(args: dict[str, Any]) -> Update:
    return Update(job_id=args["job_id"], state=args["job_status"], attempt=args["attempt_nr"], given=args)


def _apply(db: sqlite3.Connection, told: Update, now: float, server: JobServer) -> Envelope:
    if told.state not in ACCEPTED:
        return refused(f"job_status={told.state} is not one a pilot can report", {"StatusCode": _INVALID})
    command = update(db, told, now, server.limits.adder_delay_s)
    secrets = server.pilot_secrets(command)
    return done({"StatusCode": 0, "command": command} | ({"pilotSecrets": secrets} if secrets else {}))


def _stumbled(error: StoreError) -> Envelope:
    """Trouble with the database is told inside an envelope of success, as the real server does."""
    return done({"StatusCode": _TEMPORARY, "command": None}, str(error))


async def _update_job(call: Call) -> Envelope:
    told = _told(call.args)
    try:
        return await call.server.do(lambda db, now: _apply(db, told, now, call.server))
    except StoreError as error:
        return _stumbled(error)


async def _update_jobs_bulk(call: Call) -> Envelope:
    try:
        told = [_item(dict(item)) for item in call.args["job_list"]]
    except BadParameter as error:
        return refused(f"failed with {error}", [])

    def apply_all(db: sqlite3.Connection, now: float) -> list[Envelope]:
        return [_apply(db, one, now, call.server) if isinstance(one, Update) else one for one in told]

    try:
        return done(await call.server.do(apply_all))
    except StoreError as error:
        return done([_stumbled(error) for _ in told])


def _item(item: dict[str, Any]) -> Update | Envelope:
    """One update of a list. A wrong type refuses this one; a wrong name raises `BadParameter` and fails the call."""
    if item.get("meta_data") is not None:
        item["meta_data"] = str(item["meta_data"])
    try:
        return _told(check(_UPDATE, item))
    except BadType as error:
        return refused(str(error))


async def job_status(call: Call) -> Envelope:
    """Status and attempt of each job; `not found` for one that is unknown."""
    numbers = call.args["job_ids"]
    known = await call.server.do(lambda db, now: listing.statuses(db, numbers))
    return done(
        [
            {"job_id": number, "status": known[number][0], "attempt_number": known[number][1]}
            if number in known
            else {"job_id": number, "status": "not found", "attempt_number": 0}
            for number in numbers
        ]
    )


METHODS = (
    Method("pilot/acquire_jobs", "POST", _ACQUIRE, _acquire_jobs),
    Method("pilot/update_job", "POST", _UPDATE, _update_job, production=True),
    Method("pilot/update_jobs_bulk", "POST", _BULK, _update_jobs_bulk, production=True),
    Method("pilot/get_job_status", "GET", _STATUS, job_status),
)
