"""What `pilot mkdir` and `pilot cleanup` share: reading their targets and telling what came of them."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from pilot.staging.request import Target
    from pilot.staging.tidy import Deed


def targets(urls: tuple[str, ...], listed: str | None, kind: str, recursive: bool) -> list[Target]:
    """The targets of the command line and of a list: JSON entries of that kind, or one URL a line."""
    import msgspec

    from pilot.staging.entries import BadRequest
    from pilot.staging.request import Target, read_request

    done = "made" if kind == "mkdir" else "removed"
    found = [Target(_absolute(url, done), recursive=recursive and not _is_link(url)) for url in urls]
    if listed is not None:
        try:
            text = sys.stdin.buffer.read() if listed == "-" else Path(listed).read_bytes()
            if text.lstrip()[:1] in (b"[", b"{"):
                request = read_request(text, os.environ, os.getcwd())
                entries = request.directories if kind == "mkdir" else request.removals
                found += [msgspec.structs.replace(t, recursive=t.recursive or recursive) for t in entries]
            else:
                lines = text.decode("utf-8", "surrogateescape").splitlines()
                named = [line.strip() for line in lines if line.strip()]
                found += [Target(_absolute(url, done), recursive=recursive and not _is_link(url)) for url in named]
        except OSError as error:
            raise click.UsageError(f"{listed}: {error.strerror}") from error
        except BadRequest as error:
            raise click.UsageError(f"{listed}: {error}") from error
    if not found and listed is None:
        raise click.UsageError("nothing is named: give URLs or a list with -f")
    return found


def _is_link(url: str) -> bool:
    """Whether a link is meant: what else is there stays."""
    return url.startswith("symlink:")


def _absolute(url: str, done: str) -> str:
    """A path from where we are; joined as it stands, so that a `..` in it stays to be seen.

    Raises `click.UsageError` for a `~` that no shell has replaced.
    """
    if url[:1] == "~":
        raise click.UsageError(
            f"{url}: ~ means nothing here; write ./{url} for a file of that name; nothing was {done}"
        )
    for manner in ("symlink:", "moveto:"):  # a path by the way a file came there
        if url.startswith(manner):
            url = url.removeprefix(manner).removeprefix("//")
    return url if "://" in url or url.startswith(("/", "file:")) else os.path.join(os.getcwd(), url)


def tell(deeds: list[Deed], as_json: bool, word: str) -> int:
    """Print what came of the targets; the exit code."""
    from pilot.lib.urls import shown
    from pilot.staging.report import deed_line, exit_code, to_json

    failed = sum(1 for deed in deeds if deed.failure)
    code = exit_code(len(deeds) - failed, failed)
    whole = {"total": len(deeds), "done": len(deeds) - failed, "failed": failed, "exit_code": code}
    whole |= {"files": sum(deed.files for deed in deeds), "bytes": sum(deed.bytes for deed in deeds)}
    for deed in deeds:
        if deed.failure:
            click.echo(f"{shown(deed.url)}: {shown(deed.failure.message)}", err=True)
        elif not as_json:
            weight = f" ({deed.files} files, {deed.bytes} bytes)" if deed.files else ""
            click.echo(f"{word}: {shown(deed.url)}{weight}")
    if as_json:
        click.echo(to_json({"targets": [deed_line(deed) for deed in deeds], "summary": whole}))
    return code
