"""`pilot tail JOB`: the end of the log that a job is writing to now, and what follows."""

from __future__ import annotations

import os
import select
from pathlib import Path

import click

from pilot.cli.place import db_option, json_option, print_json, reading, the_job

_NEWS_MS = 1000


@click.command(name="tail")
@click.argument("job")
@click.option("--follow", "-f", is_flag=True, help="go on showing what is written, until the job is done")
@click.option("--bytes", "-c", "count", default=2048, show_default=True, help="how much of the end to show")
@click.option("--file", "name", default="", help="this file of the job's directory instead of the active log")
@db_option
@json_option
def command(job: str, follow: bool, count: int, name: str, db: Path, as_json: bool) -> None:
    """Show the end of the log that JOB is writing to: not necessarily its stdout."""
    from pilot.lib.activelog import active_log, tail

    with reading(db) as reader:
        key = the_job(reader, job)
        directory = Path(reader.job(key)["directory"])
    chosen = directory / name if name else active_log(directory)
    if chosen is not None and name and not chosen.resolve().is_relative_to(directory.resolve()):
        raise click.UsageError(f"--file {name}: outside the job's directory")
    if chosen is not None and not follow and not chosen.is_file():
        raise click.UsageError(f"--file {name}: there is no such file in {directory}")
    text = tail(chosen, count) if chosen else ""
    if as_json:
        print_json({"job": key, "file": str(chosen) if chosen else None, "text": text})
        return
    if chosen is None and not follow:
        raise click.ClickException(f"job {key} has written no log yet in {directory}")
    if chosen is not None:
        click.echo(f"==> {chosen.relative_to(directory)} <==", err=True)
        click.echo(text, nl=False)
    if follow:
        _follow(db, key, directory, chosen, bool(name))


def _follow(db: Path, key: str, directory: Path, at: Path | None, fixed: bool) -> None:
    """Show what is written as the kernel tells of it, and change over when the job writes to another file."""
    from pilot.lib.activelog import active_log
    from pilot.lib.inotify import CREATE, MODIFY, Inotify

    watch = Inotify()
    watch.add(directory, MODIFY | CREATE)
    for folder in (path for path in directory.rglob("*") if path.is_dir() and not path.is_symlink()):
        watch.add(folder, MODIFY | CREATE)
    poll = select.poll()
    poll.register(watch.fd, select.POLLIN)
    offset = at.stat().st_size if at and at.exists() else 0
    while True:
        offset = _show(at, offset)
        if not poll.poll(_NEWS_MS) and _is_done(db, key):
            _show(at, offset)
            return
        watch.read()
        now = at if fixed else active_log(directory)
        if now is not None and now != at:
            _show(at, offset)
            click.echo(f"\n==> {now.relative_to(directory)} <==", err=True)
            at, offset = now, max(0, now.stat().st_size - 2048)


def _show(path: Path | None, offset: int) -> int:
    """Print what the file has grown by; a file that shrank is shown from its beginning."""
    if path is None:
        return 0
    try:
        with path.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(offset if offset <= end else 0)
            data = file.read()
            if data:
                click.echo(data.decode(errors="replace"), nl=False)
            return file.tell()
    except FileNotFoundError:
        return 0


def _is_done(db: Path, key: str) -> bool:
    with reading(db) as reader:
        return bool(reader.job(key)["phase"] == "done")
