"""The way of a v1 request: find the method, read the parameters, check the caller, encode the answer."""

from __future__ import annotations

import gzip
import zlib
from typing import Any
from urllib.parse import parse_qs

import msgspec
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from pilot.server.identity import Caller
from pilot.server.jobserver import JobServer
from pilot.server.refusal import BadParameter, StoreError
from pilot.server.v1 import event, job, pilot, site
from pilot.server.v1.method import Call, Envelope, Method, done, refused
from pilot.server.v1.params import cast, check

METHODS = {method.path: method for module in (pilot, job, event, site) for method in module.METHODS}
_JSON = "application/json"


async def answer(server: JobServer, caller: Caller, name: str, request: Request) -> Response:
    """The response to a call of `module/method`; 404 for an unknown one, 200 for every refusal by the method."""
    method = METHODS.get(name)
    if method is None:
        return PlainTextResponse(f"ERROR : {name} is not a method of the API", status_code=404)
    try:
        given = await _parameters(request, method)
    except (msgspec.DecodeError, zlib.error, OSError, EOFError) as error:
        return PlainTextResponse(f"ERROR : cannot read the parameters : {error}", status_code=500)
    except BadParameter as error:
        return encoded(request, refused(str(error)))
    return encoded(request, await _envelope(server, caller, method, request.method, given))


async def _parameters(request: Request, method: Method) -> dict[str, Any]:
    if request.method == "GET":
        return cast(method.params, parse_qs(request.url.query, keep_blank_values=True))
    body = await request.body()
    if request.headers.get("content-encoding") == "gzip":
        body = gzip.decompress(body)
    if request.headers.get("content-type") == _JSON:
        return msgspec.json.decode(body or b"{}", type=dict[str, Any])
    # Form values stay texts and meet the type checks like this.
    return {name: texts[-1] for name, texts in parse_qs(body.decode(errors="replace")).items()}


async def _envelope(server: JobServer, caller: Caller, method: Method, verb: str, given: dict[str, Any]) -> Envelope:
    if method.secure and (not caller.known or caller.limited):
        return refused("SSL secure connection is required")
    if method.production and not caller.is_production:
        return refused("production or pilot role required")
    if verb != method.verb:
        return refused(f"expecting {method.verb}, received {verb}")
    try:
        return await method.work(Call(server, caller, check(method.params, given)))
    except (BadParameter, StoreError) as error:
        return refused(str(error))


def bare(request: Request, code: int) -> Response:
    """An answer that is nothing but an inner status code: the dialect calls that a success."""
    return encoded(request, done({"StatusCode": code, "command": None}))


def encoded(request: Request, envelope: Envelope) -> Response:
    """JSON if Content-Type or Accept is exactly JSON, else the text form that Python gives a dictionary."""
    if request.headers.get("accept") == _JSON:
        return Response(msgspec.json.encode(envelope), media_type=_JSON)
    if request.headers.get("content-type") == _JSON:
        return Response(msgspec.json.encode(envelope), media_type="text/plain")
    return PlainTextResponse(str(envelope))
