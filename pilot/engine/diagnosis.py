"""Why a payload failed, in words for the person who has to act on it."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

from pilot.core.errors import Failure, PayloadExecutionFailure, PayloadSegmentationFault
from pilot.core.job import Exit

_TAIL_BYTES = 4096


def diagnose_payload(directory: Path, exit: Exit, said: tuple[int, str] | None) -> Failure | None:
    """The failure of a payload that ended with this status; None when it ended well."""
    if exit.code == 0:
        return None
    word = last_line(directory / "payload.stderr") or last_line(directory / "payload.stdout")
    hint = (said[1] if said else "") or word
    if exit.signal is not None:
        with contextlib.suppress(ValueError):
            name = signal.Signals(exit.signal).name
            kind = PayloadSegmentationFault if exit.signal == signal.SIGSEGV else PayloadExecutionFailure
            return kind(f"ended by {name}" + (f"; it said: {hint}" if hint else "")).failure()
    return PayloadExecutionFailure(f"exit code {exit.status}" + (f"; it said: {hint}" if hint else "")).failure()


def last_line(path: Path) -> str:
    """The last line of a file that says anything, at most 200 characters."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _TAIL_BYTES))
        for line in reversed(file.read().decode(errors="replace").splitlines()):
            if line.strip():
                return line.strip()[:200]
    return ""


def excerpt(path: Path, size: int = 1024) -> str:
    """The end of a log, for the server."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(max(0, end - size))
        return file.read().decode(errors="replace")
    return ""
