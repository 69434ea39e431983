"""A job's directory: made, kept or trimmed or removed as told, and cleared before a payload runs again."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

import msgspec

from pilot.core.errors import Failure, MakeDirectory, NoLocalSpace
from pilot.core.job import JobDefinition
from pilot.engine import concealed
from pilot.engine.concealed import Concealed
from pilot.engine.records import RECORD_FOLDERS, RECORDS
from pilot.lib.files import write_atomically
from pilot.lib.removal import remove_tree

_KEPT_FOR_RERUN = frozenset({"job.json", "pilot.log", "heartbeat.json"})


def make(directory: Path, definition: JobDefinition, hidden: Concealed | None = None) -> Failure | None:
    """Make the directory, with the description in it; the failure if that cannot be done.

    What is hidden of the description goes beside it, into a file that nobody else can read.
    """
    try:
        if hidden is not None:
            concealed.keep(directory.parent, definition.key, hidden)
        directory.mkdir(exist_ok=True)
        text = msgspec.json.format(msgspec.json.encode(definition.raw), indent=2).decode()
        write_atomically(directory / "job.json", text + "\n")
    except OSError as error:
        kind = NoLocalSpace if error.errno == errno.ENOSPC else MakeDirectory
        return kind(f"{directory}: {error.strerror}").failure()
    return None


def add_to_list(workdir: Path, job_id: int) -> None:
    """Note the job in `pandaIDs.out`, a number a line, which wrappers read (protocol.md 7.2)."""
    with contextlib.suppress(OSError), (workdir / "pandaIDs.out").open("a") as file:
        file.write(f"{job_id}\n")


def clean_up(directory: Path, keep: str) -> None:
    """Leave everything (`none` is cleaned), the records (`records`) or nothing (`all`). Never raises."""
    if keep == "all":
        remove_tree(directory)
    elif keep == "records":
        _remove_all_but(directory, RECORDS, RECORD_FOLDERS)


def clear_for_rerun(directory: Path, keep: frozenset[str] = frozenset()) -> None:
    """Remove what a payload that did not come to its end has left, except what `keep` names.

    Its streams stay under a `.before` name.
    """
    for name in ("payload.stdout", "payload.stderr"):
        with contextlib.suppress(OSError):
            os.replace(directory / name, directory / f"{name}.before")
    before = {"payload.stdout.before", "payload.stderr.before"}
    _remove_all_but(directory, _KEPT_FOR_RERUN | before, keep)


def _remove_all_but(directory: Path, names: frozenset[str], whole: frozenset[str] = frozenset()) -> None:
    with contextlib.suppress(OSError), os.scandir(directory) as entries:
        for entry in entries:
            if entry.name in whole or (entry.name in names and entry.is_file(follow_symlinks=False)):
                continue
            if entry.is_dir(follow_symlinks=False):
                remove_tree(entry.path)
            else:
                with contextlib.suppress(OSError):
                    os.unlink(entry.path)
