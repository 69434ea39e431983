"""What a v1 method is: how it may be called, and the envelope of its answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from pilot.server.identity import Caller
from pilot.server.jobserver import JobServer
from pilot.server.v1.params import Param

Envelope = dict[str, Any]


@dataclass(frozen=True)
class Call:
    """One checked call: `args` has every declared parameter."""

    server: JobServer
    caller: Caller
    args: dict[str, Any]


@dataclass(frozen=True)
class Method:
    """`secure` asks for an identity, `production` for the production role besides."""

    path: str
    verb: str
    params: tuple[Param, ...]
    work: Callable[[Call], Awaitable[Envelope]]
    secure: bool = True
    production: bool = False


def done(data: object = None, message: str = "") -> Envelope:
    """The envelope of success."""
    return {"success": True, "message": message, "data": data}


def refused(message: str, data: object = None) -> Envelope:
    """The envelope of failure; it travels with HTTP status 200."""
    return {"success": False, "message": message, "data": data}
