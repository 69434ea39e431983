"""`pilot cleanup`: removes files and directories, here or on storages, and never what must stay."""

from __future__ import annotations

import os

import click

from pilot.cli.tidying import targets, tell


@click.command(name="cleanup")
@click.argument("urls", nargs=-1)
@click.option("-f", "--file", "listed", type=click.Path(allow_dash=True), help="a list of them: URLs or JSON entries")
@click.option("-r", "--recursive", is_flag=True, help="directories with all that is in them")
@click.option("--dry-run", is_flag=True, help="only say what would go, with files and bytes")
@click.option("--json", "as_json", is_flag=True, help="print one JSON document")
def command(urls: tuple[str, ...], listed: str | None, recursive: bool, dry_run: bool, as_json: bool) -> int:
    """Remove URLS, which are paths or URLs of storages; what is not there is fine.

    If any of them is the root, the home or the current directory, one that holds these, a link to one of them, has
    `..` in it, or is a whole storage or bucket, nothing at all is removed. Exit code 0: all are gone, 1: none,
    2: some, or a refusal.
    """
    from pilot.cli.staging import make_toolbox, tool_settings
    from pilot.lib.cancel import Cancel
    from pilot.staging.refusal import Refused, kept_places, refuse
    from pilot.staging.tidy import remove

    wanted = targets(urls, listed, "remove", recursive)
    kept = kept_places(os.environ, os.getcwd())
    try:
        for target in wanted:
            refuse(target.url, kept)
    except Refused as error:
        raise click.UsageError(f"{error}; nothing was removed") from error
    toolbox = make_toolbox(tool_settings(os.environ))
    try:
        return tell(
            list(remove(wanted, toolbox, Cancel(), dry_run)), as_json, "would be removed" if dry_run else "removed"
        )
    finally:
        toolbox.close()
