"""`pilot doctor`: what would go wrong on this node, found out before real jobs are here."""

from __future__ import annotations

import os
from pathlib import Path

import click

from pilot.cli.doctor_node import containers, copy_tools, disk, groups, limits, namespaces, python
from pilot.cli.doctor_reach import credentials, server
from pilot.cli.finding import Finding, Level
from pilot.cli.place import json_option, print_json


@click.command(name="doctor")
@click.option(
    "--workdir", type=click.Path(path_type=Path), default=Path("."), envvar="PILOT_WORKDIR", help="where jobs would run"
)
@click.option("--url", default="", envvar="PILOT_URL", help="base URL of the job server to be reached")
@click.option("--cacert", default="", envvar="PILOT_CACERT", help="file with the authorities that vouch for the server")
@click.option("--capath", default="", help="directory with such certificates  [$X509_CERT_DIR]")
@json_option
def command(workdir: Path, url: str, cacert: str, capath: str, as_json: bool) -> int:
    """Look at this node as a pilot would find it: one line for each thing, and what to do about it.

    Exit code 1 if anything would make jobs fail.
    """
    env = dict(os.environ)
    found = [
        python(),
        disk(workdir),
        limits(),
        groups(),
        namespaces(env),
        containers(env),
        copy_tools(env),
        *credentials(env),
        *(server(url, env, cacert, capath or env.get("X509_CERT_DIR", "")) if url else []),
    ]
    bad = any(one.level is Level.FAIL for one in found)
    if as_json:
        print_json({"ok": not bad, "checks": [one.plain() for one in found]})
    else:
        _print(found)
    return 1 if bad else 0


def _print(found: list[Finding]) -> None:
    colours = {Level.OK: "green", Level.WARN: "yellow", Level.FAIL: "red"}
    width = max(len(one.name) for one in found)
    for one in found:
        line = f"{one.name.ljust(width)}  {one.said}" + (f"; {one.advice}" if one.advice else "")
        click.echo(f"{click.style(one.level.value.ljust(4), fg=colours[one.level])}  {line}")
