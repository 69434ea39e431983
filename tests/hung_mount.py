"""A file system that never answers: a FUSE mount whose daemon has gone to sleep before its first word."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

_DETACH = 2


@contextlib.contextmanager
def hung_mount(at: Path) -> Iterator[None]:
    """Whoever touches what lies at this directory waits until the block ends. Raises OSError where none can be made."""
    libc = ctypes.CDLL(None, use_errno=True)
    device = os.open("/dev/fuse", os.O_RDWR)
    try:
        options = f"fd={device},rootmode=40000,user_id={os.getuid()},group_id={os.getgid()}"
        if libc.mount(b"nobody", os.fsencode(at), b"fuse", 0, options.encode()):
            raise OSError(ctypes.get_errno(), "mount of a FUSE file system")
        try:
            yield
        finally:
            libc.umount2(os.fsencode(at), _DETACH)
    finally:
        os.close(device)
