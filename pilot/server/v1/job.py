"""The module `job`: asking about jobs and steering them."""

from __future__ import annotations

import sqlite3

from pilot.server import steering
from pilot.server.fields import Kind
from pilot.server.refusal import UnknownJob
from pilot.server.v1.method import Call, Envelope, Method, done, refused
from pilot.server.v1.params import may, must
from pilot.server.v1.pilot import job_status

_IDS = (must("job_ids", Kind.INTS), may("timeout", Kind.INT, 60))
_COMMAND = (must("job_id", Kind.INT), must("command", Kind.STR))
_DEBUG = (must("job_id", Kind.INT), must("mode", Kind.BOOL))
_KILL = (
    must("job_ids", Kind.INTS), may("code", Kind.INT), may("use_email_as_id", Kind.BOOL, False),
    may("kill_options", Kind.STRS, ()),
)  # fmt: skip
_SUCCEEDED = "Succeeded"


async def _set_command(call: Call) -> Envelope:
    number, command = call.args["job_id"], call.args["command"]
    try:
        await call.server.do(lambda db, now: steering.set_command(db, number, command, now))
    except UnknownJob:
        return refused(f"job {number} is not found")
    except steering.BadOrder as error:
        return refused(str(error))
    return done(message=f"Command={command} for PandaID={number} set")


async def _set_debug_mode(call: Call) -> Envelope:
    """The success flag of this method is upside down, here as at the real server."""
    number, on = call.args["job_id"], call.args["mode"]
    try:
        await call.server.do(lambda db, now: steering.set_debug(db, number, on, now))
    except UnknownJob:
        return done(message=f"job {number} is not found")
    return refused(_SUCCEEDED)


async def _kill(call: Call) -> Envelope:
    def kill(db: sqlite3.Connection, number: int, now: float) -> bool:
        try:
            steering.kill(db, number, now)
        except UnknownJob:
            return False
        return True

    return done(await call.server.do(lambda db, now: [kill(db, number, now) for number in call.args["job_ids"]]))


METHODS = (
    Method("job/get_status", "GET", _IDS, job_status),
    Method("job/set_command", "POST", _COMMAND, _set_command, production=True),
    Method("job/set_debug_mode", "POST", _DEBUG, _set_debug_mode, production=True),
    Method("job/kill", "POST", _KILL, _kill),
)
