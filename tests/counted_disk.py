"""A file system that counts what is read of its one file, by any process.

Nothing of it stays in the kernel's memory (direct I/O), so that a second read is seen as well; only what is spliced out
(`sendfile`) may serve two that have the file open at the same time.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_HEAD = struct.Struct("<IIQQIIIHH")
_ANSWER = struct.Struct("<IiQ")
_LOOKUP, _GETATTR, _OPEN, _READ, _RELEASE, _FLUSH, _INIT, _OPENDIR, _RELEASEDIR = 1, 3, 14, 15, 18, 25, 26, 27, 29
_FORGET, _INTERRUPT, _BATCH_FORGET = 2, 36, 42
_DIRECT_IO = 1
_ROOT, _FILE = 1, 2
_DETACH = 2


class CountedDisk:
    """`path` is a file with some bytes, `taken` how many bytes of it were read so far, by any process.

    `claimed` is the size that it is said to have. Who reads beyond `hold_from` waits until the disk goes away, or
    `hold_from` is taken back; `held` is set as soon as somebody does.
    """

    def __init__(self, device: int, folder: Path, name: str, data: bytes) -> None:
        self.path = folder / name
        self.taken = 0
        self.claimed = len(data)
        self.hold_from: int | None = None
        self.held = threading.Event()
        self._waiting: list[bytes] = []
        self._device = device
        self._data = data
        self._deeds: dict[int, Callable[[int, bytes], bytes]] = {
            _LOOKUP: self._lookup,
            _GETATTR: lambda node, body: struct.pack("<QII", 3600, 0, 0) + self._attributes(node),
            _OPEN: lambda node, body: struct.pack("<QIi", 0, _DIRECT_IO, 0),
            _READ: self._read,
            _RELEASE: lambda node, body: b"",
            _FLUSH: lambda node, body: b"",
            _OPENDIR: lambda node, body: bytes(16),
            _RELEASEDIR: lambda node, body: b"",
            _INIT: lambda node, body: struct.pack("<IIIIHHIIHHI28x", 7, 31, 0, 0, 0, 0, 4096, 1, 0, 0, 0),
        }

    def serve(self) -> None:
        """Answer until it is unmounted."""
        while True:
            try:
                asked = os.read(self._device, 1 << 18)
            except OSError as error:
                if error.errno == errno.ENODEV:
                    return
                if error.errno in (errno.EINTR, errno.ENOENT):
                    continue
                raise
            _, what, *_ = _HEAD.unpack_from(asked)
            if what in (_FORGET, _INTERRUPT, _BATCH_FORGET):
                continue
            if what == _READ and self._holds(asked[_HEAD.size :]):
                self.held.set()
                self._waiting.append(asked)
                continue
            self._answer(asked)

    def release(self) -> None:
        """Let those go on that wait."""
        self.hold_from = None
        waiting, self._waiting = self._waiting, []
        for asked in waiting:
            self._answer(asked)

    def _holds(self, body: bytes) -> bool:
        return self.hold_from is not None and struct.unpack_from("<QQ", body)[1] >= self.hold_from

    def _answer(self, asked: bytes) -> None:
        _, what, number, node, *_ = _HEAD.unpack_from(asked)
        body, wrong = b"", 0
        try:
            body = self._deeds[what](node, asked[_HEAD.size :])
        except KeyError:
            wrong = -errno.ENOSYS
        except FileNotFoundError:
            wrong = -errno.ENOENT
        try:
            os.write(self._device, _ANSWER.pack(_ANSWER.size + len(body), wrong, number) + body)
        except FileNotFoundError:
            pass  # who asked was interrupted

    def _attributes(self, node: int) -> bytes:
        folder = node == _ROOT
        size, mode = (4096, stat.S_IFDIR | 0o755) if folder else (self.claimed, stat.S_IFREG | 0o644)
        numbers = (1, os.getuid(), os.getgid(), 0, 4096, 0)
        return struct.pack("<6Q10I", node, size, -(-size // 512), 0, 0, 0, 0, 0, 0, mode, *numbers)

    def _lookup(self, node: int, body: bytes) -> bytes:
        if body.rstrip(b"\0") != os.fsencode(self.path.name):
            raise FileNotFoundError
        return struct.pack("<4QII", _FILE, 0, 3600, 3600, 0, 0) + self._attributes(_FILE)

    def _read(self, node: int, body: bytes) -> bytes:
        _, at, size = struct.unpack_from("<QQI", body)
        piece = self._data[at : at + size]
        self.taken += len(piece)
        return piece


@contextmanager
def counted_disk(folder: Path, data: bytes, name: str = "file") -> Iterator[CountedDisk]:
    """A file of such bytes in a folder, which is made, until the block ends. In CI it has to be possible."""
    folder.mkdir(parents=True, exist_ok=True)
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        _cannot(f"/dev/fuse: {error.strerror}")
        return
    options = f"fd={device},rootmode=40000,user_id={os.getuid()},group_id={os.getgid()},allow_other"
    if libc.mount(b"counted", os.fsencode(folder), b"fuse", 0, options.encode()):
        os.close(device)
        _cannot(f"mount: {os.strerror(ctypes.get_errno())}")
    disk = CountedDisk(device, folder, name, data)
    thread = threading.Thread(target=disk.serve, name="counted-disk", daemon=True)
    thread.start()
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
        thread.join(30)
        os.close(device)


def _cannot(why: str) -> None:
    if os.environ.get("CI"):
        pytest.fail(why)
    pytest.skip(why)
