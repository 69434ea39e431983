"""Which PilotDB and which job a command is about."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from pilot.core.errors import FileHandlingFailure
from pilot.insight.read import Reader


def db_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """The option `--db`: a PilotDB, or the directory that it lies in."""
    return click.option(
        "--db",
        type=click.Path(path_type=Path),
        default=Path("pilot.db"),
        envvar="PILOT_DB",
        help="the PilotDB, or the work directory it lies in  [pilot.db]",
    )(function)


def json_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """The option `--json`: one JSON document on stdout."""
    return click.option("--json", "as_json", is_flag=True, help="one JSON document on stdout")(function)


@contextlib.contextmanager
def reading(db: Path) -> Iterator[Reader]:
    """The PilotDB that `--db` names, open for reading."""
    try:
        reader = Reader(db / "pilot.db" if db.is_dir() else db)
    except FileHandlingFailure as error:
        raise click.UsageError(error.detail or str(error)) from error
    try:
        yield reader
    finally:
        reader.close()


def the_job(reader: Reader, word: str) -> str:
    """The key of the job a person means; the last attempt if there are several."""
    keys = reader.find(word)
    if keys:
        return keys[-1]
    known = [row["key"] for row in reader.jobs()]
    more = f"; known: {', '.join(known[-8:])}" if known else "; no job has been here yet"
    raise click.UsageError(f"there is no job {word!r} in this PilotDB{more}")


def print_json(value: Any) -> None:
    """One JSON document."""
    click.echo(json.dumps(value, indent=2, default=str))
