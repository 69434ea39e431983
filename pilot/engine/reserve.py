"""A little disk kept aside, so that a full disk can still be written down and told of; and patience with a full one."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

from pilot.core.errors import NoLocalSpace
from pilot.lib.loop import Loop

_log = logging.getLogger("pilot.disk")
_NAME, _BYTES = ".reserve", 1024 * 1024
#: With less than this no job is asked for.
_LEAST_BYTES = 2 * 1024 * 1024
_AGAIN_S = 1.0
#: With less than this nothing useful can be written.
_FULL_BYTES = 64 * 1024


def was_full(workdir: Path, directory: Path) -> bool:
    """Whether the disk of `directory`, a place under the work directory, is full, or was before the reserve went."""
    try:
        disk = os.statvfs(directory)
    except OSError:
        return False
    given_up = 0 if (workdir / _NAME).exists() else _BYTES
    return disk.f_bavail * disk.f_frsize < _FULL_BYTES + given_up


class Reserve:
    """The reserve of one work directory. Used by the loop's thread alone, but for `keep`.

    What cannot be written is tried again every second for `patience_s`; then the pilot cannot do its work here.
    """

    def __init__(self, directory: Path, loop: Loop, patience_s: float) -> None:
        self._path = directory / _NAME
        self._loop = loop
        self._patience_s = patience_s
        self._full_since: float | None = None

    def keep(self) -> None:
        """Put the reserve aside, if there is room for it. Any thread."""
        with contextlib.suppress(OSError):
            fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(fd, 0, _BYTES)
            except OSError:
                self._path.unlink(missing_ok=True)
            finally:
                os.close(fd)

    def short(self) -> str:
        """How much there is of how much that it takes, if there is too little disk to take a job in; else empty."""
        try:
            disk = os.statvfs(self._path.parent)
        except OSError:
            return ""
        free = disk.f_bavail * disk.f_frsize
        least = _LEAST_BYTES if self._path.exists() else _LEAST_BYTES + _BYTES
        return f"{free >> 10} KiB free, {least >> 10} KiB needed" if free < least else ""

    def write(self, write: Callable[[], object]) -> None:
        """Write to the PilotDB; on a full disk give the reserve up first, and try again. Raises `NoLocalSpace`."""
        try:
            write()
        except NoLocalSpace:
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)
            write()
        self._full_since = None

    def write_or(self, write: Callable[[], object], again: Callable[[], None]) -> bool:
        """Write, or have `again` called in a while; whether it was written. Raises `NoLocalSpace` in the end."""
        try:
            self.write(write)
        except NoLocalSpace as full:
            now = time.monotonic()
            self._full_since = self._full_since or now
            if now - self._full_since >= self._patience_s:
                raise
            _log.error("%s: waiting for room", full)
            self._loop.after(min(_AGAIN_S, self._patience_s / 4), again)
            return False
        return True
