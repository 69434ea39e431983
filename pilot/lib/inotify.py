"""The kernel's own word on changes in directories, as a descriptor for a selector."""

from __future__ import annotations

import ctypes
import os
import struct
from pathlib import Path

MODIFY, CLOSE_WRITE, MOVED_FROM, MOVED_TO, CREATE, DELETE = 0x2, 0x8, 0x40, 0x80, 0x100, 0x200
_HEAD = struct.Struct("iIII")


class Inotify:
    """Watches of directories or files. `fd` is readable when something happened; `read` never blocks.

    Raises `OSError` where the kernel or the limits of the user do not allow it. Remote changes on network file
    systems are not seen.
    """

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self.fd = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self.fd < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    def add(self, path: Path, mask: int) -> int:
        """Watch `path` for the events in `mask`; the number by which `read` names it."""
        number: int = self._libc.inotify_add_watch(self.fd, os.fsencode(path), mask)
        if number < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(path))
        return number

    def read(self) -> list[tuple[int, int, str]]:
        """What happened since: watch number, event mask and the name in the directory (empty for the path itself)."""
        try:
            data = os.read(self.fd, 65536)
        except BlockingIOError:
            return []
        found, at = [], 0
        while at < len(data):
            number, mask, _, length = _HEAD.unpack_from(data, at)
            name = data[at + _HEAD.size : at + _HEAD.size + length].rstrip(b"\0")
            found.append((number, mask, os.fsdecode(name)))
            at += _HEAD.size + length
        return found

    def close(self) -> None:
        """Let go of all watches."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
