"""`pilot submit`: gives job descriptions to the embedded server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click


@click.command(name="submit")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path))
@click.option("--url", required=True, help="The server's base URL, as `pilot serve` printed it.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def command(file: Path, url: str, as_json: bool) -> None:
    """Submit the job descriptions in FILE: one JSON object, a list of them, or one a line; `-` reads stdin.

    All of them are taken or, when one is wrong, none.
    """
    with click.open_file(str(file), encoding="utf-8") as stream:
        jobs = _sent(url, _descriptions(stream.read(), str(file)))
    if as_json:
        click.echo(json.dumps({"jobs": jobs}))
    else:
        for job in jobs:
            click.echo(f"{job['PandaID']}  {job['jobName']}")


def _descriptions(text: str, name: str) -> list[Any]:
    """The descriptions in a JSON document or in JSON lines."""
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        lines = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
        if len(lines) < 2 or not lines[0][1].rstrip().endswith("}"):
            raise click.ClickException(f"{name}: line {error.lineno}: {error.msg}") from error
        return [_line(name, number, line) for number, line in lines]
    return document if isinstance(document, list) else [document]


def _line(name: str, number: int, line: str) -> Any:
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        raise click.ClickException(f"{name}: line {number}: {error.msg}") from error


def _sent(url: str, descriptions: list[Any]) -> list[dict[str, Any]]:
    from urllib.error import HTTPError, URLError
    from urllib.request import Request, urlopen

    request = Request(f"{url.rstrip('/')}/submit", json.dumps(descriptions).encode(), method="POST")
    request.add_header("Content-Type", "application/json")
    try:
        with urlopen(request, timeout=60) as response:
            jobs: list[dict[str, Any]] = json.load(response)["jobs"]
            return jobs
    except HTTPError as error:
        raise click.ClickException(_said(error.read(), error.code)) from error
    except (URLError, ValueError, KeyError, OSError) as error:
        raise click.ClickException(f"no job server at {url}: {getattr(error, 'reason', error)}") from error


def _said(body: bytes, status: int) -> str:
    try:
        return str(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        return f"the server answered {status}"
