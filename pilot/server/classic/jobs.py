"""Classic methods for jobs: asking for them, updating them, asking about them."""

from __future__ import annotations

import sqlite3
from typing import Any

import msgspec

from pilot.server import dispatch, listing, steering
from pilot.server.classic.encoding import Texts, flat
from pilot.server.classic.method import Answer, Call, Code, Method, Readings, Wrong, coded
from pilot.server.fields import FIELDS, Field, Kind
from pilot.server.jobserver import JobServer
from pilot.server.refusal import StoreError, UnknownJob
from pilot.server.states import ACCEPTED
from pilot.server.updates import Update, update

_GET_JOB = (
    "token", "timeout", "cpu", "mem", "diskSpace", "prodSourceLabel", "node", "computingElement", "AtlasRelease",
    "prodUserID", "getProxyKey", "countryGroup", "workingGroup", "allowOtherCountry", "taskID", "nJobs", "background",
    "resourceType", "harvester_id", "worker_id", "schedulerID", "jobType", "viaTopic", "remaining_time",
)  # fmt: skip
# Taken and not looked at.
_IDLE = ("timestamp", "token", "timeout", "workdir", "remainingSpace", "messageLevel", "computingElement")
_UPDATE = (*(field.classic for field in FIELDS), "attemptNr", *_IDLE)


async def _get_job(call: Call) -> Answer:
    user = call.text("prodUserID")
    if not call.caller.is_production:
        if call.text("prodSourceLabel") != "user":
            return coded(Code.ROLE, "no production/pilot role in VOMS FQANs or non pilot owner")
        user = call.caller.dn
    wish = dispatch.Wish(
        site=call.texts["siteName"], label=call.text("prodSourceLabel"), jobs=call.number("nJobs") or 1,
        memory_mb=call.number("mem") or 0, disk_mb=call.number("diskSpace") or 0, node=call.text("node"),
        computing_element=call.text("computingElement"), user=user, task_id=call.number("taskID"),
        resource_type=call.text("resourceType"), remaining_s=call.number("remaining_time"),
        harvester_id=call.text("harvester_id") or call.text("schedulerID"), worker_id=call.number("worker_id"),
    )  # fmt: skip
    jobs = await call.server.do(lambda db, now: dispatch.acquire(db, wish, now))
    if not jobs:
        return coded(Code.NO_JOBS, "No jobs in PanDA")
    return {"StatusCode": 0, "jobs": jobs} if "nJobs" in call.texts else jobs[0]


def _told(texts: Texts) -> Update:
    said = Readings(texts)
    given = {field.v1: _value(said, field) for field in FIELDS if field.classic in texts}
    return Update(
        job_id=said.need("jobId"), state=texts.get("state", ""), attempt=said.number("attemptNr"),
        given=given, classic=True,
    )  # fmt: skip


def _value(said: Readings, field: Field) -> object:
    if field.kind is Kind.INT:
        return said.number(field.classic)
    if field.kind is Kind.NUMBER:
        text = said.text(field.classic)
        try:
            return None if text is None else float(text)
        except ValueError as error:
            raise Wrong(f"{field.classic} is no number: {text!r:.100}") from error
    return said.text(field.classic)


def _apply(db: sqlite3.Connection, told: Update, now: float, server: JobServer) -> dict[str, Any]:
    # A state that pilots do not report is answered with success and changes nothing.
    command = update(db, told, now, server.limits.adder_delay_s) if told.state in ACCEPTED else None
    secrets = server.pilot_secrets(command)
    return {"StatusCode": 0, "command": command or "NULL"} | ({"pilotSecrets": secrets} if secrets else {})


async def _update_job(call: Call) -> Answer:
    told = _told(call.texts)
    return await call.server.do(lambda db, now: _apply(db, told, now, call.server))


async def _update_jobs_in_bulk(call: Call) -> Answer:
    """The text of a pair: whether the list could be read, and the text of one answer for each of its items."""
    try:
        items = msgspec.json.decode(call.texts["jobList"], type=list[dict[str, Any]])
        told = [_told({name: str(value) for name, value in item.items() if value is not None}) for item in items]
    except (msgspec.DecodeError, Wrong) as error:
        return _pair(False, f"jobList cannot be used: {error}")
    try:
        answers = await call.server.do(lambda db, now: [_apply(db, one, now, call.server) for one in told])
        return _pair(True, [flat(answer, call.json) for answer in answers])
    except StoreError as error:
        return _pair(False, str(error))


def _pair(good: bool, answers: object) -> str:
    return msgspec.json.encode([good, answers]).decode()


async def _get_status(call: Call) -> Answer:
    words = call.texts["ids"].split()
    numbers = [int(word) for word in words if word.isdecimal()]
    known = await call.server.do(lambda db, now: listing.statuses(db, numbers))
    found = [known.get(int(word)) if word.isdecimal() else None for word in words]
    return {
        "StatusCode": 0,
        "status": "+".join(one[0] if one else "notfound" for one in found),
        "attemptNr": "+".join(str(one[1]) if one else "0" for one in found),
    }


async def _set_debug_mode(call: Call) -> Answer:
    number, on = call.need("pandaID"), call.texts["modeOn"] == "True"
    try:
        await call.server.do(lambda db, now: steering.set_debug(db, number, on, now))
    except UnknownJob:
        return f"{number} is not found"
    return "Succeeded"


METHODS = (
    Method("getJob", _get_job, ("siteName",), _GET_JOB),
    Method("updateJob", _update_job, ("jobId", "state"), _UPDATE),
    Method("updateJobsInBulk", _update_jobs_in_bulk, ("jobList",), ("harvester_id",)),
    Method("getStatus", _get_status, ("ids",), ("timeout",)),
    Method("setDebugMode", _set_debug_mode, ("pandaID", "modeOn")),
)
