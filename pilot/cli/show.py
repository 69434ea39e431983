"""`pilot show JOB`: all that is known of one job, the reason of a failure first; `--worker`: of a whole pilot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pilot.cli import show_ranges, show_worker
from pilot.cli.place import db_option, json_option, print_json, reading, the_job
from pilot.cli.planned import plan_text, worth_telling
from pilot.cli.tables import clock, seconds, size, table, where
from pilot.core.errors import FileHandlingFailure
from pilot.insight.ranges import ranges_of
from pilot.insight.read import Reader
from pilot.insight.worker import worker_profile


@click.command(name="show")
@click.argument("job", required=False)
@click.option("--ranges", is_flag=True, help="all event ranges of an event service job, not only their numbers")
@click.option(
    "--worker",
    type=click.IntRange(min=0),
    is_flag=False,
    flag_value=0,
    help="instead of a job: how the time of a whole pilot divides among its jobs (a number, or the last one)",
)
@db_option
@json_option
def command(job: str | None, ranges: bool, worker: int | None, db: Path, as_json: bool) -> None:
    """Tell all that is known of JOB (a PandaID, or PandaID.attempt), or of a pilot (--worker)."""
    if (job is None) == (worker is None):
        raise click.UsageError("name a JOB, or --worker")
    with reading(db) as reader:
        if worker is not None:
            _tell_worker(reader, worker, as_json)
            return
        assert job is not None
        found = reader.job(the_job(reader, job))
        found["event_ranges"] = ranges_of(reader, found["key"], everything=ranges)
    if as_json:
        print_json(found)
        return
    for part in (
        _head,
        _error,
        _usage,
        lambda known: show_ranges.told(known["event_ranges"]),
        _files,
        _plan,
        _phases,
        _messages,
    ):
        if text := part(found):
            click.echo(text)


def _tell_worker(reader: Reader, number: int, as_json: bool) -> None:
    try:
        profile = worker_profile(reader, number)
    except FileHandlingFailure as error:
        raise click.UsageError(error.detail or str(error)) from error
    if as_json:
        print_json(profile)
    else:
        click.echo(show_worker.told(profile))


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
    bound = "at most " if usage.get("pss_at_most") else ""
    return (
        f"  used       {seconds(cpu)} CPU in {seconds(usage.get('wall_s', 0))},"
        f" PSS {bound}{size(usage.get('max_pss_kb', 0) * 1024)}, RSS {size(usage.get('max_rss_kb', 0) * 1024)},"
        f" read {size(usage.get('read_bytes', 0))}, written {size(usage.get('write_bytes', 0))}"
    )


def _files(job: dict[str, Any]) -> str:
    rows = [
        (f["direction"], f["lfn"], f["state"], size(f["size"]), f["error"] or where(f["target"])) for f in job["files"]
    ]
    return "\n" + table(("files", "LFN", "state", "size", "where"), rows, right=("size",)) if rows else ""


def _plan(job: dict[str, Any]) -> str:
    """Where files were to come from and to go, as far as there was a choice."""
    plans = [plan for plan in job["plan"] if worth_telling(plan, job["transfers"])]
    return f"\nplan\n----\n{plan_text(plans, job['transfers'])}" if plans else ""


def _phases(job: dict[str, Any]) -> str:
    rows = [(clock(p["at"]), p["phase"], p["event"]) for p in job["phases"]]
    return "\n" + table(("at (UTC)", "phase", "after"), rows)


def _messages(job: dict[str, Any]) -> str:
    rows = [
        (clock(m["created"]), m["state"], m["tries"], {1: "accepted", 0: "not needed", None: "open"}[m["accepted"]])
        for m in job["messages"]
    ]
    return "\n" + table(("told (UTC)", "state", "tries", "server"), rows, right=("tries",)) if rows else ""
