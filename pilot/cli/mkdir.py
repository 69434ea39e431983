"""`pilot mkdir`: directories here or on storages."""

from __future__ import annotations

import os

import click

from pilot.cli.tidying import targets, tell


@click.command(name="mkdir")
@click.argument("urls", nargs=-1)
@click.option("-f", "--file", "listed", type=click.Path(allow_dash=True), help="a list of them: URLs or JSON entries")
@click.option("--dry-run", is_flag=True, help="only say what would be made")
@click.option("--json", "as_json", is_flag=True, help="print one JSON document")
def command(urls: tuple[str, ...], listed: str | None, dry_run: bool, as_json: bool) -> int:
    """Make directories with those above them. URLS are paths or URLs of storages; those that exist are fine."""
    from pilot.cli.staging import make_toolbox, tool_settings
    from pilot.lib.cancel import Cancel
    from pilot.staging.tidy import Deed, make_directories

    wanted = targets(urls, listed, "mkdir", recursive=False)
    if dry_run:
        return tell([Deed("mkdir", target.url) for target in wanted], as_json, "would be made")
    toolbox = make_toolbox(tool_settings(os.environ))
    try:
        return tell(list(make_directories(wanted, toolbox, Cancel())), as_json, "made")
    finally:
        toolbox.close()
