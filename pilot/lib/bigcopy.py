"""Copies large files inside the kernel, while a second thread hashes what has arrived.

The hash is of the bytes that were written, read back while they are still in memory: on two cores that costs hardly
more than the copy alone, and a file system that shares blocks does not copy at all.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable

from pilot.lib.checksum import Hasher
from pilot.lib.files import BLOCK, copy_stream

_STEP = 4 << 20
_CANNOT = frozenset(
    {errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF, errno.EPERM, errno.ETXTBSY}
)


#: linux/fs.h, as it is on x86 and ARM; kernels that number it otherwise do not know this one, and files are copied.
_FICLONE = 0x40049409


def clone(source: int, target: int) -> bool:
    """Have an empty file share all blocks of another one; False where the file system cannot. Raises `OSError`."""
    import fcntl

    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError as error:
        if error.errno in _CANNOT or error.errno == errno.ENOTTY:
            return False
        raise
    return True


def copy_large(source: int, target: int, hasher: Hasher, on_bytes: Callable[[int], None]) -> int:
    """Copy all of a descriptor to an empty one that can be read too; the number of bytes.

    `on_bytes` hears of every step and may raise to stop. Raises `OSError`. Where the kernel cannot copy between these
    two it is done in one pass through here.
    """
    try:
        first = os.copy_file_range(source, target, _STEP)
    except OSError as error:
        if error.errno not in _CANNOT:
            raise
        first = 0
    if not first:
        # Nothing in one go does not mean an empty file: some file systems answer 0 for what they cannot do.
        return copy_stream(source, target, hasher, on_bytes)
    follower = _Follower(target, hasher)
    count = total = first
    try:
        while count:
            follower.reached(total)
            on_bytes(count)
            count = os.copy_file_range(source, target, _STEP)
            total += count
        follower.finish(total)
    finally:
        follower.stop()
    return total


class _Follower:
    """Hashes a growing file in a thread of its own, never beyond what it was told to have arrived."""

    def __init__(self, descriptor: int, hasher: Hasher) -> None:
        self._descriptor = descriptor
        self._hasher = hasher
        self._limit = 0
        self._over = False
        self._error: OSError | None = None
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._follow, name="staging-hash", daemon=True)
        self._thread.start()

    def reached(self, limit: int) -> None:
        """So many bytes are there."""
        with self._news:
            self._limit = limit
            self._news.notify()

    def finish(self, total: int) -> None:
        """Wait until all bytes are hashed. Raises the `OSError` that kept them from being read."""
        with self._news:
            self._limit, self._over = total, True
            self._news.notify()
        self._thread.join()
        if self._error:
            raise self._error

    def stop(self) -> None:
        """End the thread wherever it is."""
        with self._news:
            self._over = True
            self._limit = 0
            self._news.notify()
        self._thread.join()

    def _follow(self) -> None:
        buffer = bytearray(BLOCK)
        view = memoryview(buffer)
        at = 0
        try:
            while (limit := self._next(at)) > at:
                while at < min(limit, self._limit):
                    count = os.preadv(self._descriptor, (view[: limit - at],), at)
                    if not count:
                        raise OSError(errno.EIO, "what was written cannot be read")
                    self._hasher.update(view[:count])
                    at += count
        except OSError as error:
            self._error = error

    def _next(self, at: int) -> int:
        with self._news:
            while self._limit <= at and not self._over:
                self._news.wait()
            return self._limit
