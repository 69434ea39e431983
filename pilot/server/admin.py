"""The server's own endpoints, beside the protocol: submitting, looking, steering. They speak plain JSON."""

from __future__ import annotations

import sqlite3
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pilot.server import listing, ranges, steering, submission, workers
from pilot.server.faults import Faults, rules
from pilot.server.jobserver import JobServer
from pilot.server.refusal import BadSubmission, UnknownJob

_LISTED = 1000


def _json(document: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(document), status_code=status, media_type="application/json")


def error(message: str, status: int, **more: object) -> Response:
    """The answer to what cannot be done: why, in one line."""
    return _json({"error": message, **more}, status)


async def submit(request: Request) -> Response:
    """POST: one description or a list; answers the jobs as served, or every mistake found and takes none."""
    server: JobServer = request.app.state.server
    try:
        specs = msgspec.json.decode(await request.body())
    except msgspec.DecodeError as wrong:
        return error(f"not JSON: {wrong}", 400)
    specs = specs if isinstance(specs, list) else [specs]
    checked = request.query_params.get("check") != "no"
    try:
        taken = await server.do(lambda db, now: submission.submit(db, specs, now, checked=checked))
    except BadSubmission as wrong:
        faults = [{"index": f.index, "job": f.job, "key": f.key, "message": f.message} for f in wrong.faults]
        return error(str(wrong), 400, faults=faults)
    return _json({"jobs": [{"PandaID": spec["PandaID"], "jobName": spec["jobName"]} for spec in taken]})


async def jobs(request: Request) -> Response:
    """GET: the newest jobs; `?state=` picks one state, `?limit=` their number."""
    state, limit = request.query_params.get("state"), request.query_params.get("limit", str(_LISTED))
    if not limit.isdecimal():
        return error("limit must be a number", 400)
    server: JobServer = request.app.state.server
    return _json({"jobs": await server.do(lambda db, now: listing.jobs(db, state, int(limit)))})


async def job(request: Request) -> Response:
    """GET: everything known of one job."""
    server: JobServer = request.app.state.server
    number: int = request.path_params["pandaid"]
    found = await server.do(lambda db, now: listing.job(db, number))
    return error(f"no job {number}", 404) if found is None else _json(found)


async def steer(request: Request) -> Response:
    """POST: `kill`, `softkill`, `debug` ({"on": bool}) or `command` ({"command": text}) for one job."""
    server: JobServer = request.app.state.server
    number, action = request.path_params["pandaid"], request.path_params["action"]
    if action not in steering.ACTIONS:
        return error(f"no action {action}; there are {', '.join(sorted(steering.ACTIONS))}", 404)
    try:
        body = msgspec.json.decode(await request.body() or b"{}", type=dict[str, Any])

        def act(db: sqlite3.Connection, now: float) -> str:
            return steering.ACTIONS[action](db, number, body, now)

        return _json({"job_id": number, "state": await server.do(act)})
    except UnknownJob:
        return error(f"no job {number}", 404)
    except (steering.BadOrder, msgspec.DecodeError) as wrong:
        return error(str(wrong), 400)


async def ranges_of(request: Request) -> Response:
    """GET: the event ranges of a job in numbers."""
    server: JobServer = request.app.state.server
    number: int = request.path_params["pandaid"]
    found = await server.do(lambda db, now: ranges.summary(db, number))
    return error(f"job {number} has no event ranges", 404) if found is None else _json(found)


async def workers_and_nodes(request: Request) -> Response:
    """GET: what pilots told of their workers and nodes."""
    server: JobServer = request.app.state.server
    told = await server.do(lambda db, now: {"workers": workers.workers(db), "nodes": workers.nodes(db)})
    return _json(told)


async def knobs(request: Request) -> Response:
    """GET: the fault knobs; POST a list of rules (or one) to replace them; DELETE takes all away."""
    faults: Faults = request.app.state.faults
    if request.method != "GET":
        try:
            faults.set(rules(await request.body() if request.method == "POST" else b"[]"))
        except ValueError as wrong:
            return error(str(wrong), 400)
    return _json({"faults": faults.listed()})


ROUTES = [
    Route("/faults", knobs, methods=["GET", "POST", "DELETE"]),
    Route("/workers", workers_and_nodes, methods=["GET"]),
    Route("/jobs/{pandaid:int}/ranges", ranges_of, methods=["GET"]),
    Route("/submit", submit, methods=["POST"]),
    Route("/jobs", jobs, methods=["GET"]),
    Route("/jobs/{pandaid:int}", job, methods=["GET"]),
    Route("/jobs/{pandaid:int}/{action}", steer, methods=["POST"]),
]
