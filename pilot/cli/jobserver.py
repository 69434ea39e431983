"""Calls to the embedded server's own endpoints, beside the protocol: who asks, and what is told when it fails."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from pilot.core.exitcodes import ExitCode
from pilot.lib.tls import client_context

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


class Unreached(click.ClickException):
    """Nobody answers at the URL."""

    exit_code = ExitCode.SERVER_COMMUNICATION


def server_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say which server, and who asks."""
    for option in (
        click.option("--origin", help="The token's virtual organisation and role, as VO:ROLE."),
        click.option("--token", type=_FILE, help="A file with a token to show."),
        click.option("--cert", type=_FILE, help="A certificate or proxy to show, with its key."),
        click.option("--cacert", type=_FILE, help="The CA that signed the server's certificate."),
        click.option("--url", required=True, help="The server's base URL, as `pilot serve` printed it."),
    ):
        function = option(function)
    return function


def post(
    url: str,
    path: str,
    document: Any,
    wrong: Callable[[str], click.UsageError],
    *,
    cacert: Path | None = None,
    cert: Path | None = None,
    token: Path | None = None,
    origin: str | None = None,
) -> dict[str, Any]:
    """The answer to one request. Raises `wrong` of what the server says of a bad one, `Unreached`, or another
    `click.ClickException` with its words."""
    from urllib.error import HTTPError, URLError
    from urllib.request import Request, urlopen

    if not url.startswith(("http://", "https://")):
        raise click.BadParameter(f"{url!r} does not begin with http:// or https://", param_hint="--url")
    request = Request(f"{url.rstrip('/')}/{path}", json.dumps(document).encode(), method="POST")
    request.add_header("Content-Type", "application/json")
    if token is not None:
        request.add_header("Authorization", f"Bearer {token.read_text().strip()}")
    if origin is not None:
        request.add_header("Origin", origin)
    try:
        with urlopen(request, timeout=60, context=_tls(url, cacert, cert)) as response:
            answer: dict[str, Any] = dict(json.load(response))
            return answer
    except HTTPError as error:
        said = _said(error.read(), error.code)
        raise wrong(said) if error.code in (400, 404) else click.ClickException(said) from error
    except (URLError, ValueError, KeyError, OSError) as error:
        raise Unreached(f"no job server at {url}: {getattr(error, 'reason', error)}") from error


def _tls(url: str, cacert: Path | None, cert: Path | None) -> ssl.SSLContext | None:
    if not url.startswith("https://"):
        return None
    context = client_context(None if cacert is None else str(cacert))
    if cert is not None:
        try:
            context.load_cert_chain(cert)
        except OSError as error:
            raise click.BadParameter(f"{cert}: {error}", param_hint="--cert") from error
    return context


def _said(body: bytes, status: int) -> str:
    try:
        return str(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        return f"the server answered {status}"
