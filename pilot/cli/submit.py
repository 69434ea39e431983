"""`pilot submit`: gives job descriptions to the embedded server."""

from __future__ import annotations

import json
import ssl
from pathlib import Path
from typing import Any

import click

from pilot.core.exitcodes import ExitCode

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


class _Unreached(click.ClickException):
    """Nobody answers at the URL."""

    exit_code = ExitCode.SERVER_COMMUNICATION


@click.command(name="submit")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path))
@click.option("--url", required=True, help="The server's base URL, as `pilot serve` printed it.")
@click.option("--cacert", type=_FILE, help="The CA that signed the server's certificate.")
@click.option("--cert", type=_FILE, help="A certificate or proxy to show, with its key.")
@click.option("--token", type=_FILE, help="A file with a token to show.")
@click.option("--origin", help="The token's virtual organisation and role, as VO:ROLE.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def command(file: Path, url: str, as_json: bool, **credentials: Any) -> None:
    """Submit the job descriptions in FILE: one JSON object, a list of them, or one a line; `-` reads stdin.

    All of them are taken or, when one is wrong, none.
    """
    if not url.startswith(("http://", "https://")):
        raise click.BadParameter(f"{url!r} does not begin with http:// or https://", param_hint="--url")
    with click.open_file(str(file), encoding="utf-8") as stream:
        jobs = _sent(url, _descriptions(stream.read(), str(file)), **credentials)
    if as_json:
        click.echo(json.dumps({"jobs": jobs}))
    else:
        for job in jobs:
            click.echo(f"{job['PandaID']}  {job['jobName']}")


def _wrong(message: str) -> click.BadParameter:
    return click.BadParameter(message, param_hint="FILE")


def _descriptions(text: str, name: str) -> list[Any]:
    """The descriptions in a JSON document or in JSON lines."""
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        lines = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
        if len(lines) < 2 or not lines[0][1].rstrip().endswith("}"):
            raise _wrong(f"{name}: line {error.lineno}: {error.msg}") from error
        return [_line(name, number, line) for number, line in lines]
    return document if isinstance(document, list) else [document]


def _line(name: str, number: int, line: str) -> Any:
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        raise _wrong(f"{name}: line {number}: {error.msg}") from error


def _sent(
    url: str,
    descriptions: list[Any],
    cacert: Path | None,
    cert: Path | None,
    token: Path | None,
    origin: str | None,
) -> list[dict[str, Any]]:
    from urllib.error import HTTPError, URLError
    from urllib.request import Request, urlopen

    request = Request(f"{url.rstrip('/')}/submit", json.dumps(descriptions).encode(), method="POST")
    request.add_header("Content-Type", "application/json")
    if token is not None:
        request.add_header("Authorization", f"Bearer {token.read_text().strip()}")
    if origin is not None:
        request.add_header("Origin", origin)
    try:
        with urlopen(request, timeout=60, context=_tls(url, cacert, cert)) as response:
            jobs: list[dict[str, Any]] = json.load(response)["jobs"]
            return jobs
    except HTTPError as error:
        said = _said(error.read(), error.code)
        raise _wrong(said) if error.code == 400 else click.ClickException(said) from error
    except (URLError, ValueError, KeyError, OSError) as error:
        raise _Unreached(f"no job server at {url}: {getattr(error, 'reason', error)}") from error


def _tls(url: str, cacert: Path | None, cert: Path | None) -> ssl.SSLContext | None:
    if not url.startswith("https://"):
        return None
    context = ssl.create_default_context(cafile=None if cacert is None else str(cacert))
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
