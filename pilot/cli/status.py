"""`pilot status`: what is running now, and what has run."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from pilot.cli.place import db_option, json_option, print_json, reading
from pilot.cli.tables import clock, seconds, table


@click.command(name="status")
@db_option
@json_option
def command(db: Path, as_json: bool) -> None:
    """Tell what is running now and what has run in this work directory."""
    with reading(db) as reader:
        now_s = time.time()
        jobs = [_brief(row, now_s) for row in reader.jobs()]
        pilots = reader.pilots()
    if as_json:
        print_json({"pilots": pilots, "jobs": jobs})
        return
    alive = [p for p in pilots if p["ended"] is None]
    click.echo(
        f"{_many(len(pilots), 'pilot')} worked here, {len(alive)} of them not known to have ended; "
        f"{_many(len(jobs), 'job')}"
    )
    if jobs:
        rows = [
            (
                j["job_id"],
                j["attempt"],
                j["outcome"] or j["phase"],
                j["error_code"] or "",
                "" if j["exit_code"] is None else j["exit_code"],
                clock(j["acquired"]),
                seconds(j["seconds"]),
                _short((j["error"] or {}).get("message", "")) or j["name"] or "",
            )
            for j in jobs
        ]
        head = ("PandaID", "try", "state", "error", "exit", "acquired", "took", "what")
        click.echo(table(head, rows, right=("PandaID", "try", "error", "exit", "took")))


def _short(text: str, most: int = 80) -> str:
    """The text, with a mark where it goes on; `pilot show` has all of it."""
    return text if len(text) <= most else text[: most - 1] + "…"


def _many(count: int, thing: str) -> str:
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"


def _brief(row: dict[str, Any], now_s: float) -> dict[str, Any]:
    row = dict(row)
    row["seconds"] = (row["ended"] or now_s) - row["acquired"]
    row["timing"] = row.pop("facts").get("timing_s", {})
    return row
