"""`pilot submit`: gives job descriptions to the embedded server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from pilot.cli.jobserver import post, server_options


@click.command(name="submit")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path))
@server_options
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def command(file: Path, url: str, as_json: bool, **credentials: Any) -> None:
    """Submit the job descriptions in FILE: one JSON object, a list of them, or one a line; `-` reads stdin.

    All of them are taken or, when one is wrong, none.
    """
    with click.open_file(str(file), encoding="utf-8") as stream:
        descriptions = _descriptions(stream.read(), str(file))
    jobs = post(url, "submit", descriptions, _wrong, **credentials)["jobs"]
    if as_json:
        click.echo(json.dumps({"jobs": jobs}))
    else:
        for job in jobs:
            click.echo(f"{job['PandaID']}  {job['jobName']}")


_MANY = " (jobs are one JSON object, a list of them, or one a line)"


def _wrong(message: str) -> click.BadParameter:
    return click.BadParameter(message, param_hint="FILE")


def _descriptions(text: str, name: str) -> list[Any]:
    """The descriptions in a JSON document or in JSON lines."""
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        lines = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
        if len(lines) < 2 or not lines[0][1].rstrip().endswith("}"):
            raise _wrong(f"{name}: line {error.lineno}: {error.msg}{_MANY}") from error
        return [_line(name, number, line) for number, line in lines]
    return document if isinstance(document, list) else [document]


def _line(name: str, number: int, line: str) -> Any:
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        raise _wrong(f"{name}: line {number}: {error.msg}{_MANY}") from error
