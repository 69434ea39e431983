"""Checks of files for `pilot config validate`: what kind they are, and what is wrong with them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

from pilot.core.errors import PilotError
from pilot.core.fields import Slip
from pilot.core.job import JobDefinition

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
    """Everything that a pilot would refuse jobs for, and what it would not understand."""
    from pilot.core.numbering import numbered
    from pilot.lib.validate import known_keys, nearest

    known = known_keys("job")
    found, notes = [], []
    for at, job in enumerate(jobs):
        place = f"[{at}]" if len(jobs) > 1 else ""
        found += [f"{place}{'.' if place else ''}{line}" for line in _slips(job)]
        unknown = [key for key in job if key not in known and nearest(key, known)]
        notes += [f"{place}{key!r} means nothing to the pilot{nearest(key, known)}" for key in unknown]
    try:
        numbered(jobs)
    except PilotError as error:
        found.append(error.detail)
    return found, notes


def in_words(slip: Slip) -> str:
    """A mistake in a job's description, with its key."""
    detail = slip.error.detail
    return detail if detail.startswith(slip.key) else f"{slip.key}: {detail}"


def _slips(job: dict[str, Any]) -> list[str]:
    """What a pilot would refuse the job for, a line for each key: by reading it, then by the schema for the rest."""
    from pilot.engine import form
    from pilot.lib.validate import problems

    definition, slips = form.read({"PandaID": 1, **{key: value for key, value in job.items() if value is not None}})
    lines = [in_words(slip) for slip in slips]
    told = {slip.key for slip in slips}
    lines += [line for line in problems(job, "job") if re.split(r"[.:[]", line)[0] not in told]
    return lines + _overlays(definition)


def _overlays(definition: JobDefinition) -> list[str]:
    """What is wrong with what the job would have of its queue and storages."""
    from pilot.info.read_queue import read_queue
    from pilot.info.read_storage import read_storages

    found = []
    for option, read in (
        ("--overwriteQueueData", lambda: read_queue(definition.queue_overlay, "any")),
        ("--overwriteStorageData", lambda: read_storages(definition.storage_overlay)),
    ):
        try:
            read()
        except PilotError as error:
            found.append(f"jobPars: {option}: {error.detail}")
    return found


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
