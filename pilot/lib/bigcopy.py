"""Copies large files inside the kernel, while a second thread hashes what has arrived. Holes stay holes.

The hash is of the bytes that were written, read back while they are still in memory: on two cores that costs hardly
more than the copy alone, and a file system that shares blocks does not copy at all.
"""

from __future__ import annotations

import errno
import os
import threading
from collections import deque
from collections.abc import Callable

from pilot.lib.checksum import Hasher
from pilot.lib.files import BLOCK, copy_stream

_STEP = 4 << 20
_ZEROS = memoryview(bytes(BLOCK))
#: Who copies hears of a stop between two of these.
_HOLE_STEP = 64 << 20
_SHORTER = "the file got shorter while it was copied"
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
    two it is done in one pass through here. Holes stay holes: they take no room and next to no time.
    """
    found = os.fstat(source)
    if found.st_blocks * 512 + _STEP < found.st_size:
        return _copy_around_holes(source, target, found.st_size, hasher, on_bytes)
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


def _copy_around_holes(source: int, target: int, size: int, hasher: Hasher, on_bytes: Callable[[int], None]) -> int:
    """The same for `size` bytes, of which only those that lie on a disk are copied."""
    os.ftruncate(target, size)
    copy, follower, at = _PieceCopy(source, target), _Follower(target, hasher), 0
    try:
        while at < size:
            begin, end = _next_data(source, at, size)
            while at < begin:
                step = min(_HOLE_STEP, begin - at)
                follower.hole(at, at + step)
                at += step
                on_bytes(step)
            while at < end:
                count = copy(at, min(_STEP, end - at))
                if not count:
                    raise OSError(errno.EIO, _SHORTER)
                at += count
                follower.reached(at)
                on_bytes(count)
        if os.fstat(source).st_size < size:
            raise OSError(errno.EIO, _SHORTER)
        follower.finish(size)
    finally:
        follower.stop()
    return size


def _next_data(source: int, at: int, size: int) -> tuple[int, int]:
    """Where the next bytes that are no hole begin and end, at most at `size`."""
    try:
        begin = min(os.lseek(source, at, os.SEEK_DATA), size)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        return size, size
    return begin, min(os.lseek(source, begin, os.SEEK_HOLE), size) if begin < size else size


class _PieceCopy:
    """Copies pieces to the same place in another file: in the kernel as long as that can do it."""

    def __init__(self, source: int, target: int) -> None:
        self._source = source
        self._target = target
        self._buffer: memoryview | None = None

    def __call__(self, at: int, count: int) -> int:
        """How many bytes went; 0 at the end. Raises `OSError`."""
        if self._buffer is None:
            try:
                done = os.copy_file_range(self._source, self._target, count, at, at)
            except OSError as error:
                if error.errno not in _CANNOT:
                    raise
                done = 0
            if done:
                return done
            self._buffer = memoryview(bytearray(BLOCK))
        done = os.preadv(self._source, (self._buffer[:count],), at)
        written = 0
        while written < done:
            written += os.pwrite(self._target, self._buffer[written:done], at + written)
        return done


class _Follower:
    """Hashes a growing file in a thread of its own, never beyond what it was told to have arrived."""

    def __init__(self, descriptor: int, hasher: Hasher) -> None:
        self._descriptor = descriptor
        self._hasher = hasher
        self._holes: deque[tuple[int, int]] = deque()
        self._limit = self._at = 0
        self._over = self._gone = False
        self._error: OSError | None = None
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._follow, name="staging-hash", daemon=True)
        self._thread.start()

    def hole(self, begin: int, end: int) -> None:
        """All that is there between these are zeros, which need not be read; returns once they are hashed.

        Holes come in order.
        """
        self._holes.append((begin, end))
        self.reached(end)
        with self._news:
            while self._at < end and not self._gone:
                self._news.wait()

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
                    begin, end = self._next_hole(at, limit)
                    if begin <= at:
                        count = min(end - at, len(_ZEROS))
                        self._hasher.update(_ZEROS[:count])
                        at += count
                        if at == end:
                            self._passed(at)
                        continue
                    count = os.preadv(self._descriptor, (view[: begin - at],), at)
                    if not count:
                        raise OSError(errno.EIO, "what was written cannot be read")
                    self._hasher.update(view[:count])
                    at += count
        except OSError as error:
            self._error = error
        finally:
            self._gone = True
            self._passed(at)

    def _passed(self, at: int) -> None:
        with self._news:
            self._at = at
            self._news.notify_all()

    def _next_hole(self, at: int, limit: int) -> tuple[int, int]:
        """The hole that `at` lies in, or the first after it; an empty one at `limit` if none is known."""
        while self._holes and self._holes[0][1] <= at:
            self._holes.popleft()
        begin, end = self._holes[0] if self._holes else (limit, limit)
        return min(begin, limit), min(end, limit)

    def _next(self, at: int) -> int:
        with self._news:
            while self._limit <= at and not self._over:
                self._news.wait()
            return self._limit
