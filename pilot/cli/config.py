"""`pilot config`: what the settings are and where they come from, single values, and checks of files before use."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from pilot.cli import settings as settings_of
from pilot.cli.info import Info, info_of
from pilot.cli.place import json_option
from pilot.core.settings import Settings

_EXIT_BAD = 1


@click.group(name="config")
def command() -> None:
    """Show, query and check the configuration."""


@command.command(name="show", short_help="every setting: its value, where it comes from, what it means")
@click.option(
    "--config", "files", multiple=True, type=click.Path(path_type=Path), help="a configuration file; repeatable"
)
@json_option
def show(files: tuple[Path, ...], as_json: bool) -> None:
    """Every setting: its value, where that comes from, what it means."""
    values = settings_of.load({}, files)
    origins = settings_of.origins(files)
    rows = [
        (field.name, getattr(values, field.name), origins.get(field.name, "default"), field.metadata["help"])
        for field in fields(Settings)
    ]
    if as_json:
        click.echo(json.dumps({"settings": {n: {"value": v, "origin": o, "help": h} for n, v, o, h in rows}}, indent=2))
        return
    from pilot.cli.tables import table

    click.echo(table(("setting", "value", "from", "meaning"), [(n, _shown(v), o, h) for n, v, o, h in rows]))


@command.command(name="query", short_help="the values of settings, of queue and storage data")
@click.argument("names", nargs=-1, required=True)
@click.option(
    "--config", "files", multiple=True, type=click.Path(path_type=Path), help="a configuration file; repeatable"
)
@click.option("--queue", default=None, help="the PanDA queue")
@click.option("--queuedata-url", default=None, help="where its data lie")
@click.option("--storagedata-url", default=None, help="where storage data lie")
@json_option
def query(names: tuple[str, ...], files: tuple[Path, ...], as_json: bool, **flags: Any) -> None:
    """The values of settings, one a line; `queue.KEY` asks for the queue's data, `storage.RSE` for a storage."""
    settings = settings_of.load(flags, files)
    info = info_of(files)
    found = {name: _value(name, settings, info) for name in names}
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for value in found.values():
        click.echo(_shown(value))


@command.command(name="validate", short_help="check job descriptions, queue data, configuration files")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@json_option
def validate(files: tuple[Path, ...], as_json: bool) -> int:
    """Check job descriptions (JSON, JSON lines), queue data (JSON) and configuration files (TOML).

    Exit code 1 when any of them has a problem, 2 when one cannot be read.
    """
    from pilot.cli.checking import check_file

    reports = [check_file(path) for path in files]
    if as_json:
        click.echo(json.dumps({"files": reports}, indent=2))
    else:
        for report in reports:
            for line in (*report["problems"], *(f"note: {note}" for note in report["notes"])):
                click.echo(f"{report['file']}: {line}")
            if report["ok"]:
                click.echo(f"{report['file']}: ok ({report['kind']})")
    return 0 if all(report["ok"] for report in reports) else _EXIT_BAD


def _value(name: str, settings: Settings, info: Info) -> Any:
    group, dot, key = name.partition(".")
    if dot and group in ("queue", "storage"):
        return _of_queue(group, key, settings, info)
    known = {field.name: field for field in fields(Settings)}
    plain = name.replace("-", "_")
    if plain not in known:
        from pilot.lib.validate import nearest

        raise click.UsageError(f"there is no setting {name!r}{nearest(plain, known)}")
    return getattr(settings, plain)


def _of_queue(group: str, key: str, settings: Settings, info: Info) -> Any:
    import msgspec

    from pilot.cli.queue import queue_of
    from pilot.core.job import InputFile, JobDefinition
    from pilot.lib.validate import nearest

    known = queue_of(settings, Path(settings.workdir).absolute(), os.environ, info)
    job = JobDefinition(job_id=1, inputs=(InputFile("any", rse=key),) if group == "storage" else ())
    if group == "storage":
        storage = known.site_for(job).storage(key)
        if storage is None:
            raise click.UsageError(f"there is no storage {key!r} in the storage data")
        return msgspec.to_builtins(storage)
    queue = known.queue_for(job)
    if key not in queue.__struct_fields__:
        raise click.UsageError(f"there is no queue.{key}{nearest(key, queue.__struct_fields__)}")
    return msgspec.to_builtins(getattr(queue, key))


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value) if isinstance(value, (dict, list, tuple)) else str(value)


def read_toml(path: Path) -> dict[str, Any]:
    """A configuration file. Raises `click.UsageError` naming the place of a mistake."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise click.UsageError(f"{path}: {getattr(error, 'strerror', None) or error}") from error


def setting_problems(values: Iterable[tuple[str, Any]]) -> list[str]:
    """What is wrong with the settings of a file's `[pilot]`."""
    found = []
    for name, value in values:
        try:
            settings_of.converted(name, value, "pilot")
        except click.UsageError as error:
            found.append(error.message)
    return found
