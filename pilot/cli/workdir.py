"""`pilot workdir`: where on this node a work directory would be, and why."""

from __future__ import annotations

import os
from typing import Any

import click

from pilot.cli.workplace import claims_book

_NOTHING_FITS = 69


@click.command(name="workdir")
@click.option(
    "--order", default="pegasus-5", help="seed-3.1, pegasus-5, or variables and paths, separated by commas [pegasus-5]"
)
@click.option("--need", default="", help="bytes needed, as 2G [PEGASUS_WN_TMP_MIN_SPACE in KiB, else about 1 GB]")
@click.option("--inodes", type=click.IntRange(0), default=1000, help="files needed [1000]")
@click.option("--best", is_flag=True, help="the best place rather than the first: local disk, most space")
@click.option("--explain", is_flag=True, help="tell of every candidate what speaks for or against it")
@click.option("--reap", "reaping", is_flag=True, help="remove what dead pilots left there, and nothing else")
@click.option("--make", "making", is_flag=True, help="make a directory there; whoever asks removes it")
@click.option("--json", "as_json", is_flag=True, help="print one JSON document")
def command(
    order: str, need: str, inodes: int, best: bool, explain: bool, reaping: bool, making: bool, as_json: bool
) -> int:
    """Print the place for a work directory on this node. Exit code 0, or 69 if nothing fits."""
    from pilot.lib import claims, scratch

    try:
        names = scratch.order_of(order)
    except ValueError as error:
        raise click.UsageError(f"--order: {error}") from error
    try:
        wanted = scratch.need_bytes(need, os.environ.get("PEGASUS_WN_TMP_MIN_SPACE", ""))
    except ValueError as error:
        raise click.UsageError(f"--need {error}") from error
    reaped: list[str] = []
    if reaping:
        reaped = [path for base in scratch.paths_of(os.environ, names) for path in claims.reap(base)]
    book = claims_book(os.environ)
    places = scratch.survey(os.environ, names, wanted, inodes, lambda path: claims.reserved(path, book))
    chosen = scratch.choose(places, best)
    path = chosen.path if chosen else ""
    if chosen and making:
        try:
            made = claims.make(chosen.path, wanted)
        except OSError as error:
            raise click.ClickException(f"{chosen.path}: {error.strerror}") from error
        path = made.path
        made.release()
    if as_json:
        import msgspec

        whole: dict[str, Any] = {"path": path, "need_bytes": wanted, "candidates": places, "reaped": reaped}
        click.echo(msgspec.json.encode(whole).decode())
    elif explain:
        from pilot.cli.tables import size

        for place in places:
            mark = "*" if chosen is place else "+" if place.fits else "-"
            inodes_free = f", {place.free_inodes} inodes" if place.free_inodes else ""
            claimed = f", {size(place.reserved_bytes)} of it claimed by other pilots" if place.reserved_bytes else ""
            fine = f"{size(place.free_bytes)}{inodes_free} free{claimed}, {place.fs_type}"
            click.echo(": ".join(filter(None, (f"{mark} {place.name}", place.path, place.why or fine))))
    for gone in reaped:
        click.echo(f"removed {gone}, left by a pilot that died", err=True)
    if chosen is None:
        more = "" if explain else "; --explain says why"
        click.echo(f"no candidate has {scratch.amount(wanted)} (--need) and can be written{more}", err=True)
        return _NOTHING_FITS
    if not (as_json or explain):
        click.echo(path)
    return 0
