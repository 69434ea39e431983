"""`pilot show JOB`: all that is known of one job, the reason of a failure first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pilot.cli.place import db_option, json_option, print_json, reading, the_job
from pilot.cli.tables import clock, seconds, size, table


@click.command(name="show")
@click.argument("job")
@db_option
@json_option
def command(job: str, db: Path, as_json: bool) -> None:
    """Tell all that is known of JOB (a PandaID, or PandaID.attempt)."""
    with reading(db) as reader:
        found = reader.job(the_job(reader, job))
    if as_json:
        print_json(found)
        return
    for part in (_head, _error, _usage, _files, _phases, _messages):
        if text := part(found):
            click.echo(text)


def _head(job: dict[str, Any]) -> str:
    facts = job["facts"]
    timing = "  ".join(f"{name} {seconds(spent)}" for name, spent in facts.get("timing_s", {}).items())
    lines = [
        f"job {job['job_id']}, attempt {job['attempt']}: {job['outcome'] or job['phase']}",
        f"  name       {job['name'] or '-'}",
        f"  acquired   {clock(job['acquired'])} UTC, ended {clock(job['ended'])}",
        f"  time       {timing}",
        f"  directory  {job['directory']}",
    ]
    if job["exit_code"] is not None:
        lines.append(f"  payload    exit code {job['exit_code']}, started {facts.get('runs', 0)} time(s)")
    if facts.get("events") is not None:
        lines.append(f"  events     {facts['events']}")
    return "\n".join(lines)


def _error(job: dict[str, Any]) -> str:
    error = job["error"]
    if not error:
        return ""
    lines = [f"  why        {error['message']} (error {error['code']}, for the {error['owner']} to act on)"]
    lines += [f"  also       {cause['message']} (error {cause['code']})" for cause in error.get("causes", [])]
    return "\n".join(lines)


def _usage(job: dict[str, Any]) -> str:
    usage = job["facts"].get("usage")
    if not usage:
        return ""
    cpu = usage.get("user_s", 0) + usage.get("system_s", 0)
    return (
        f"  used       {seconds(cpu)} CPU in {seconds(usage.get('wall_s', 0))},"
        f" PSS {size(usage.get('max_pss_kb', 0) * 1024)}, RSS {size(usage.get('max_rss_kb', 0) * 1024)},"
        f" read {size(usage.get('read_bytes', 0))}, written {size(usage.get('write_bytes', 0))}"
    )


def _files(job: dict[str, Any]) -> str:
    rows = [
        (f["direction"], f["lfn"], f["state"], size(f["size"]), f["error"] or f["target"] or "") for f in job["files"]
    ]
    return "\n" + table(("files", "LFN", "state", "size", "where"), rows, right=("size",)) if rows else ""


def _phases(job: dict[str, Any]) -> str:
    rows = [(clock(p["at"]), p["phase"], p["event"]) for p in job["phases"]]
    return "\n" + table(("at (UTC)", "phase", "after"), rows)


def _messages(job: dict[str, Any]) -> str:
    rows = [
        (clock(m["created"]), m["state"], m["tries"], {1: "accepted", 0: "not needed", None: "open"}[m["accepted"]])
        for m in job["messages"]
    ]
    return "\n" + table(("told (UTC)", "state", "tries", "server"), rows, right=("tries",)) if rows else ""
