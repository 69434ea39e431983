"""Misfortunes on purpose: what the server does to chosen requests so that clients can be tested.

Used from the event loop alone.
"""

from __future__ import annotations

import asyncio
import fnmatch
import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Literal

import msgspec
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

Action = Literal["delay", "error", "code", "close", "hang", "garbage", "half", "cut"]


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One knob: which requests it strikes and what it does to them.

    `method` is a pattern (`pilot/update_job*`, `updateJob`, `*`) for the name in either dialect, with or without its
    module. `do`: `delay` by `seconds`; `error` answers HTTP `status`; `code` answers well-formed with the inner
    StatusCode `code`; `close` drops the connection; `hang` says nothing for `seconds` and then drops it; `garbage`,
    `half` and `cut` spoil the true answer (no JSON at all, half of it, half of it and then a dropped connection).
    `when`: `before` the request is looked at, or `after` its effects are committed; spoilt answers are always after.
    The first `skip` matching requests are spared, then at most `count` are struck, each with `probability`.
    """

    method: str = "*"
    do: Action
    when: Literal["before", "after"] = "before"
    status: int = 500
    code: int = 10
    seconds: float = 1.0
    skip: int = 0
    count: int | None = None
    probability: float = 1.0
    seed: int = 0


def rules(text: bytes | str) -> list[Rule]:
    """The rules in a JSON document, a list of them or a single one; raises `ValueError` with what is wrong."""
    try:
        found = msgspec.json.decode(text, type=list[Rule] | Rule)
    except msgspec.DecodeError as error:
        raise ValueError(f"fault rules: {error}") from error
    return found if isinstance(found, list) else [found]


_SPOILING = frozenset({"garbage", "half", "cut"})
GARBAGE = b"<html><body>\xff\xfeService Unavailable"


class _Armed:
    """A rule with its dice and its counters."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.seen = 0
        self.struck = 0
        self._dice = random.Random(rule.seed)

    def strikes(self, name: str) -> bool:
        rule = self.rule
        if not any(fnmatch.fnmatchcase(said, rule.method) for said in (name, name.rpartition("/")[2])):
            return False
        self.seen += 1
        if self.seen <= rule.skip or (rule.count is not None and self.struck >= rule.count):
            return False
        if self._dice.random() >= rule.probability:
            return False
        self.struck += 1
        return True


class Faults:
    """The knobs as they are set now; `ending` frees the requests that hang."""

    def __init__(self, rules: Iterable[Rule], ending: asyncio.Event) -> None:
        self._ending = ending
        self._armed: list[_Armed] = []
        self.set(rules)

    def set(self, rules: Iterable[Rule]) -> None:
        """Replaces all knobs."""
        self._armed = [_Armed(rule) for rule in rules]

    def listed(self) -> list[dict[str, Any]]:
        """Every knob with how many requests it matched and how many it struck."""
        return [
            {**msgspec.structs.asdict(armed.rule), "seen": armed.seen, "struck": armed.struck} for armed in self._armed
        ]

    async def around(
        self,
        name: str,
        request: Request,
        answer: Callable[[], Awaitable[Response]],
        coded: Callable[[int], Response],
    ) -> Response:
        """The answer to a request after whatever strikes it; `coded` makes the dialect's answer of a bare code."""
        if not self._armed:
            return await answer()
        rules = [armed.rule for armed in self._armed if armed.strikes(name)]
        early = [rule for rule in rules if rule.when == "before" and rule.do not in _SPOILING]
        for rule in early:
            if (instead := await self._suffer(rule, request, coded)) is not None:
                return instead
        response = await answer()
        return await self._late([rule for rule in rules if rule not in early], request, response, coded)

    async def _late(
        self, rules: Sequence[Rule], request: Request, response: Response, coded: Callable[[int], Response]
    ) -> Response:
        for rule in rules:
            if rule.do in _SPOILING:
                return _spoilt(rule, response)
            if (instead := await self._suffer(rule, request, coded)) is not None:
                return instead
        return response

    async def _suffer(self, rule: Rule, request: Request, coded: Callable[[int], Response]) -> Response | None:
        if rule.do == "delay":
            await self._wait(rule.seconds)
            return None
        if rule.do == "error":
            return PlainTextResponse("ERROR : this failure was asked for", status_code=rule.status)
        if rule.do == "code":
            return coded(rule.code)
        if rule.do == "hang":
            await self._wait(rule.seconds)
        return Dropped()

    async def _wait(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._ending.wait(), seconds)
        except TimeoutError:
            pass


def _spoilt(rule: Rule, response: Response) -> Response:
    body = bytes(response.body)
    if rule.do == "garbage":
        return Response(GARBAGE, status_code=response.status_code, media_type="text/html")
    half = body[: max(len(body) // 2, 1)]
    if rule.do == "half":
        return Response(half, status_code=response.status_code, media_type=response.media_type)
    return Dropped(half, len(body))


class Dropped(Response):
    """No answer: the connection is closed, at once or after the first bytes of a body."""

    def __init__(self, part: bytes = b"", promised: int = 0) -> None:
        super().__init__()
        self._part = part
        self._promised = promised

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        transport: asyncio.Transport = scope["state"]["transport"]
        if self._part:
            length = str(self._promised).encode()
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
            await send({"type": "http.response.body", "body": self._part, "more_body": True})
            transport.close()
        else:
            transport.abort()
        while (await receive())["type"] != "http.disconnect":
            pass
