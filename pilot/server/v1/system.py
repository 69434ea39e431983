"""The module `system`."""

from __future__ import annotations

from pilot.server.v1.method import Call, Envelope, Method, done


async def _is_alive(call: Call) -> Envelope:
    return done("alive=yes")


METHODS = (Method("system/is_alive", "GET", (), _is_alive, secure=False),)
