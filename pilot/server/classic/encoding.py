"""How a classic request says its parameters and how its answer looks (protocol.md 1.1)."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from email.parser import BytesParser
from email.policy import HTTP
from typing import Any
from urllib.parse import parse_qsl, urlencode

import msgspec
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

Texts = dict[str, str]


async def parameters(request: Request) -> Texts:
    """The parameters as texts; null ones are left out.

    A body under exactly `application/json` must be packed with gzip, whatever Content-Encoding says. Raises `OSError`,
    `EOFError`, `zlib.error` or `msgspec.DecodeError` for a body that cannot be read.
    """
    found = dict(parse_qsl(request.url.query, keep_blank_values=True))
    if request.method == "GET":
        return found
    body = await request.body()
    kind = request.headers.get("content-type", "")
    if kind == "application/json":
        values: dict[str, Any] = msgspec.json.decode(gzip.decompress(body), type=dict[str, Any])
        return found | {name: _text(value) for name, value in values.items() if value is not None}
    if kind.startswith("multipart/form-data"):
        return found | _multipart(kind, body)
    return found | dict(parse_qsl(body.decode(errors="replace"), keep_blank_values=True))


def _text(value: object) -> str:
    # Booleans become the words True and False; a list or an object becomes a text that is no JSON, as at the real one.
    return value if isinstance(value, str) else str(value)


def _multipart(kind: str, body: bytes) -> Texts:
    message = BytesParser(policy=HTTP).parsebytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + body)
    found: Texts = {}
    for part in message.iter_parts():
        name, value = part.get_param("name", header="content-disposition"), part.get_payload(decode=True)
        if isinstance(name, str) and isinstance(value, bytes):
            found[name] = value.decode(errors="replace").removesuffix("\r\n")
    return found


def encoded(request: Request, answer: Mapping[str, Any]) -> Response:
    """JSON if Accept has `application/json` in it, else a query string in which nested values are JSON texts."""
    if wants_json(request):
        return Response(msgspec.json.encode(answer), media_type="application/json")
    return PlainTextResponse(flat(answer, as_json=False))


def wants_json(request: Request) -> bool:
    """Whether the caller reads JSON."""
    return "application/json" in request.headers.get("accept", "")


def flat(answer: Mapping[str, Any], as_json: bool) -> str:
    """The text of an answer in either form."""
    if as_json:
        return msgspec.json.encode(answer).decode()
    return urlencode({name: _flat(value) for name, value in answer.items()})


def _flat(value: object) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, list | dict):
        return msgspec.json.encode(value).decode()
    return str(value)
