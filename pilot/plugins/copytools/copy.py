"""Copies local files, hashed in the pass that copies."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from typing import ClassVar

from pilot.lib.bigcopy import clone, copy_large
from pilot.lib.checksum import Hasher
from pilot.lib.files import BLOCK, copy_stream, write_all
from pilot.plugins.copytools.base import (
    Ability,
    Fault,
    Move,
    Moved,
    ToolError,
    Watch,
    not_plain,
    source_fault,
    target_fault,
)
from pilot.plugins.copytools.local import LocalTool

#: A pipe as source must be refused, not waited for: hence O_NONBLOCK, which plain files ignore.
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
_WRITE = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
_NAMELESS = os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC
#: What file systems say that have no nameless files. The directory itself is opened where the kernel has none.
_NO_NAMELESS = frozenset({errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOSYS})

#: From this size on a copy inside the kernel, with a second thread for the hash, is worth starting one.
_LARGE = 32 << 20


class Copy(LocalTool):
    """Local file to local file. Permission bits go with the file, as far as the umask lets them."""

    ability: ClassVar[Ability] = Ability(hashes=True, feeds=True, parallel=2)
    _clones: ClassVar[bool] = False

    def move(self, moves: Sequence[Move], watch: Watch) -> Iterator[Moved]:
        """Copy one after the other, all through one buffer."""
        buffer = bytearray(BLOCK)
        for move in moves:
            try:
                watch.begin(move)
                moved = _copy(move, watch, buffer, self._clones)
            except ToolError as error:
                if error.fault is Fault.CANCELLED:
                    raise
                moved = Moved(fault=error.fault, detail=error.detail)
            yield moved


class Reflink(Copy):
    """Makes the target a file of its own that shares its blocks with the source until one of them is written to.

    Nothing is copied, and whoever writes to the target leaves the source as it is. Files for which the file system
    cannot do that (XFS, Btrfs and bcachefs can, within one of them) are copied.
    """

    _clones: ClassVar[bool] = True


def _copy(move: Move, watch: Watch, buffer: bytearray, clones: bool) -> Moved:
    try:
        source = os.open(move.source, _READ)
    except OSError as error:
        raise source_fault(error, move.source) from error
    try:
        found = os.fstat(source)
        if not stat.S_ISREG(found.st_mode):
            raise not_plain(move.source)
        return _copy_to(source, found, move, watch, buffer, clones)
    finally:
        os.close(source)


def _copy_to(source: int, found: os.stat_result, move: Move, watch: Watch, buffer: bytearray, clones: bool) -> Moved:
    hasher = Hasher(move.kinds)
    large = found.st_size >= _LARGE
    target = -1
    try:
        target, nameless = _open_target(move, found.st_mode & 0o777 | 0o200, large)
        if clones and clone(source, target):
            if move.feed is not None:
                move.feed.leave()
            size = _read_clone(target, hasher, watch, buffer) if move.kinds else os.fstat(target).st_size
        elif move.feed is not None:
            sparse = found.st_blocks * 512 < found.st_size
            size = _copy_fed(source, target, move, hasher, watch, buffer, sparse)
        elif large:
            size = copy_large(source, target, hasher, watch.moved)
        else:
            size = copy_stream(source, target, hasher, watch.moved, buffer)
        if not found.st_mode & 0o200:
            os.fchmod(target, os.fstat(target).st_mode & 0o577)
        if move.fsync:
            os.fsync(target)
        kept = target if nameless else None
        moved = Moved(size=size, checksums=hasher.values(), checksum_seconds=hasher.seconds, descriptor=kept)
        if nameless:
            target = -1
        return moved
    except OSError as error:
        raise target_fault(error, move.target) from error
    finally:
        if target >= 0:
            os.close(target)


def _read_clone(target: int, hasher: Hasher, watch: Watch, buffer: bytearray) -> int:
    """Hash what a file has got without a byte being copied; its size."""
    view = memoryview(buffer)
    total = 0
    while count := os.readv(target, (view,)):
        hasher.update(view[:count])
        total += count
        watch.moved(count)
    return total


def _open_target(move: Move, mode: int, large: bool) -> tuple[int, bool]:
    """A descriptor to write to, and whether it has no name yet.

    Small files get theirs once they are whole: one step less in the directory, and nothing to clear away ever. A large
    one shows under its temporary name that it grows. Raises `OSError`.
    """
    if move.nameless and not large:
        try:
            return os.open(move.target[: move.target.rindex("/")] or "/", _NAMELESS, mode), True
        except OSError as error:
            if error.errno not in _NO_NAMELESS:
                raise
    return os.open(move.target, _WRITE, mode), False


def _copy_fed(
    source: int, target: int, move: Move, hasher: Hasher, watch: Watch, buffer: bytearray, sparse: bool
) -> int:
    """Copy what another target of the same file may have read already; zeros of a `sparse` one stay holes."""
    view = memoryview(buffer)
    at = 0
    while count := move.feed.read(source, view, at):
        block = view[:count]
        hasher.update(block)
        if sparse and not bytes(block).strip(b"\0"):
            os.lseek(target, count, os.SEEK_CUR)
        else:
            write_all(target, block)
        at += count
        watch.moved(count)
    if sparse:
        os.ftruncate(target, at)
    return at
