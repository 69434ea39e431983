"""A local socket's path may have 107 bytes; a job's directory may have more."""

from __future__ import annotations

import os
from pathlib import Path

MAX_PATH = 107


def short_path(path: Path) -> tuple[int | None, str]:
    """The path as a socket may be named by: where it is too long, by way of its directory, opened as the descriptor.

    The descriptor must stay open as long as the name is used.
    """
    if len(os.fsencode(path)) <= MAX_PATH:
        return None, str(path)
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    return directory, f"/proc/self/fd/{directory}/{path.name}"
