"""The PilotDB of `pilot run`: the file that `--db` names, on a disk that sqlite can trust."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pilot.core.errors import FileHandlingFailure
from pilot.core.settings import Settings
from pilot.lib.redact import Redactor

if TYPE_CHECKING:
    from pilot.db.store import Store


def db_path(settings: Settings, workdir: Path) -> Path:
    """The file: as named (in a directory: `pilot.db` there), else `pilot.db` in the work directory.

    Raises `click.UsageError` when the directory that it names is not there.
    """
    named = Path(settings.db).absolute() if settings.db else workdir / "pilot.db"
    path = named / "pilot.db" if named.is_dir() else named
    if not path.parent.is_dir():
        raise click.UsageError(f"--db {settings.db}: there is no directory {path.parent}")
    return path


def has_left(path: Path, environ: Mapping[str, str]) -> bool:
    """Whether a PilotDB holds jobs or processes that an earlier pilot did not bring to their end."""
    from pilot.lib import filesystem

    if not path.exists() and not filesystem.is_shared(path.parent):
        return False
    with contextlib.closing(open_store(path, environ, Redactor())) as store:
        return bool(store.unfinished() or store.living_processes())


def open_store(path: Path, environ: Mapping[str, str], redactor: Redactor) -> Store:
    """The PilotDB, made or brought up to date; on a network file system it works on local scratch.

    Raises `click.UsageError` for a file that is no PilotDB, or not one that this program can use.
    """
    from pilot.db.away import AwayStore
    from pilot.db.store import Store
    from pilot.lib import filesystem

    try:
        if filesystem.is_shared(path.parent):
            return AwayStore(path, Path(environ.get("TMPDIR") or tempfile.gettempdir()), redactor.clean)
        return Store(path, redactor.clean)
    except FileHandlingFailure as error:
        raise click.UsageError(f"--db: {error.detail or error}") from error
