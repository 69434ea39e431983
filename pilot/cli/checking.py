"""Checks of files for `pilot config validate`: what kind they are, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pilot.core.errors import PilotError

_QUEUE_SIGNS = frozenset({"copytools", "acopytools", "astorages", "panda_resource", "nickname"})


def check_file(path: Path) -> dict[str, Any]:
    """`file`, `kind`, `ok`, `problems` and `notes` of one file. Raises `click.UsageError` for an unreadable one."""
    notes: list[str] = []
    if path.suffix == ".toml":
        kind, problems = "configuration", _configuration(path)
    else:
        documents = _documents(path)
        queues = [queue for document in documents if (queue := _queues(document))]
        if queues:
            kind, problems = "queue data", [line for queue in queues for line in _queue_problems(queue)]
        else:
            problems, notes = _jobs(documents)
            kind = f"{len(documents)} job{'s' if len(documents) != 1 else ''}"
    return {"file": str(path), "kind": kind, "ok": not problems, "problems": problems, "notes": notes}


def _documents(path: Path) -> list[dict[str, Any]]:
    from pilot.lib.documents import read_objects

    try:
        return read_objects(path)
    except PilotError as error:
        raise click.UsageError(error.detail) from error


def _jobs(jobs: list[dict[str, Any]]) -> tuple[list[str], list[str]]:
    """Problems of single values by the schema, of what belongs together by reading the description."""
    from pilot.core.definition import parse
    from pilot.lib.validate import known_keys, nearest, problems

    known = known_keys("job")
    found, notes = [], []
    for at, job in enumerate(jobs):
        place = f"[{at}]" if len(jobs) > 1 else ""
        wrong = list(problems(job, "job"))
        if not wrong:
            try:
                parse({"PandaID": 1, **{key: value for key, value in job.items() if value is not None}})
            except PilotError as error:
                wrong = [error.detail]
        found += [f"{place}{'.' if place and not line.startswith('[') else ''}{line}" for line in wrong]
        unknown = [key for key in job if key not in known and nearest(key, known)]
        notes += [f"{place}{key!r} means nothing to the pilot{nearest(key, known)}" for key in unknown]
    return found, notes


def _queues(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Queues by name, if the document is queue data."""
    if _QUEUE_SIGNS & document.keys():
        return {str(document.get("nickname") or document.get("panda_resource") or "queue"): document}
    tables = {name: value for name, value in document.items() if isinstance(value, dict)}
    if tables and len(tables) == len(document) and all(_QUEUE_SIGNS & value.keys() for value in tables.values()):
        return tables
    return {}


def _queue_problems(queues: dict[str, dict[str, Any]]) -> list[str]:
    from pilot.info.read_queue import read_queue

    found = []
    for name, record in queues.items():
        try:
            read_queue(record, name)
        except PilotError as error:
            found.append(error.detail)
    return found


def _configuration(path: Path) -> list[str]:
    from pilot.cli.config import read_toml, setting_problems
    from pilot.lib.validate import problems

    document = read_toml(path)
    own = document.get("pilot", {})
    found = setting_problems(own.items()) if isinstance(own, dict) else []
    return found + [line for line in problems(document, "config") if not line.startswith("pilot")]
