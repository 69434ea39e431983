"""What is read of a payload's directory when it has ended: all at once, by somebody whom a dead disk may hold up."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from pilot.core import diagnose
from pilot.engine import records, utilities
from pilot.engine.concealed import PAYLOADS_OWN, hide_in
from pilot.engine.lastwords import Words, last_words
from pilot.engine.means import Means, Run
from pilot.engine.reserve import was_full
from pilot.lib.activelog import tail
from pilot.lib.redact import Redactor
from pilot.runtime import steps

T = TypeVar("T")
_NOTES_BYTES = 4096


class Leavings(msgspec.Struct, frozen=True):
    """What the steps noted, what the last of them said, the two reports, the last words, and whether the disk was full.

    As it stands here of a directory that does not answer.
    """

    notes: list[steps.Noted] = []
    step_words: str = ""
    report: dict[str, Any] | None = None
    complaint: dict[str, Any] | None = None
    words: Words = Words("", False)
    full: bool = False


def gather(run: Run, workdir: Path, redactor: Redactor) -> Leavings:
    """Read it, and take away what was the payload's own secret. Any thread."""
    directory = run.directory
    (directory / PAYLOADS_OWN).unlink(missing_ok=True)
    hide_in(directory, run.written, redactor)
    utilities.tell(run)
    notes = steps.read_notes(tail(directory / steps.NOTES, _NOTES_BYTES))
    return Leavings(
        notes,
        diagnose.last_words(tail(directory / f"{notes[-1].name}.stderr", _NOTES_BYTES)) if notes else "",
        records.read_json_object(directory / "jobReport.json"),
        records.read_json_object(directory / "payload_error_report.json"),
        last_words(directory),
        was_full(workdir, directory),
    )


def of_disk(means: Means, run: Run, look: Callable[[], T], otherwise: T, patience_s: float = 3.0) -> T:
    """What is found in the job's directory; `otherwise` if it does not answer, at once if that is known already."""
    if means.disk.is_silent(run.key):
        return otherwise
    return means.monitor.on_disk(run.key, look, otherwise, patience_s)


def disk_mb(directory: Path) -> int:
    """The size of the file system of a directory."""
    disk = os.statvfs(directory)
    return disk.f_blocks * disk.f_frsize // 1024**2
