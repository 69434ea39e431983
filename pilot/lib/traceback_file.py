"""Tracebacks are for those who mend the program: they go to a file, and everybody else gets one line that names it."""

from __future__ import annotations

import contextlib
import os
import time
import traceback
from pathlib import Path

from pilot.lib.redact import Redactor


def story_of(error: BaseException, redactor: Redactor) -> str:
    """The traceback with all its causes, without known secrets."""
    return redactor.scrub("".join(traceback.format_exception(error)))


def in_one_line(error: BaseException, redactor: Redactor) -> str:
    """`ValueError: what it says`, without known secrets."""
    words = " ".join(str(error).split())[:200]
    return redactor.scrub(f"{type(error).__name__}: {words}" if words else type(error).__name__)


def put_down(path: Path, story: str) -> bool:
    """Add a traceback to a file; whether that could be done."""
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    with contextlib.suppress(OSError):
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        with os.fdopen(fd, "w", encoding="utf-8", errors="replace") as file:
            file.write(f"{stamp} pilot {os.getpid()}:\n{story}\n")
        return True
    return False
