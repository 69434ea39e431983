"""The way of a classic request: find the method, read the texts, check the caller, encode the answer."""

from __future__ import annotations

import zlib
from collections.abc import Mapping

import msgspec
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from pilot.server.classic import events, jobs, site
from pilot.server.classic.encoding import encoded, parameters, wants_json
from pilot.server.classic.method import Call, Code, Method, Wrong, coded
from pilot.server.identity import Caller
from pilot.server.jobserver import JobServer
from pilot.server.refusal import StoreError

METHODS = {method.name: method for module in (jobs, events, site) for method in module.METHODS}


def forbidden(name: str) -> Response:
    """The answer to a method that does not exist or is not served any more."""
    return PlainTextResponse(f"ERROR : method {name} is forbidden", status_code=403)


def bare(request: Request, code: int) -> Response:
    """An answer that is nothing but a status code."""
    return encoded(request, {"StatusCode": code})


async def answer(server: JobServer, caller: Caller, name: str, request: Request) -> Response:
    """The response to a call; 403 for an unknown method, 500 for parameters that cannot be read or are unknown."""
    method = METHODS.get(name)
    if method is None:
        return forbidden(name)
    try:
        texts = await parameters(request)
    except (msgspec.DecodeError, zlib.error, OSError, EOFError) as error:
        return PlainTextResponse(f"ERROR : cannot read the parameters : {error}", status_code=500)
    if (fault := _fault(method, texts)) is not None:
        return PlainTextResponse(f"ERROR : {fault}", status_code=500)
    if method.pilot and (not caller.is_pilot and not _own_jobs(method, caller)):
        return encoded(request, coded(method.denied, "no production/pilot role in VOMS FQANs"))
    try:
        said = await method.work(Call(texts, server, caller, wants_json(request)))
    except Wrong as error:
        said = coded(Code.INVALID, str(error))
    except StoreError as error:
        said = coded(Code.FAILED, str(error))
    return PlainTextResponse(said) if isinstance(said, str) else encoded(request, said)


def _own_jobs(method: Method, caller: Caller) -> bool:
    """Whether the method decides by itself: everybody who is known may ask for jobs of his own."""
    return method.name == "getJob" and caller.known


def _fault(method: Method, texts: Mapping[str, str]) -> str | None:
    for name in texts:
        if name not in method.required and name not in method.optional:
            return f"{method.name}() got an unexpected keyword argument '{name}'"
    missing = [name for name in method.required if name not in texts]
    return f"{method.name}() missing a required argument: '{missing[0]}'" if missing else None
