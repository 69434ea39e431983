"""Copies local files, hashed in the pass that copies."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from typing import ClassVar

from pilot.lib.bigcopy import copy_large
from pilot.lib.checksum import Hasher
from pilot.lib.files import BLOCK, copy_stream, write_all
from pilot.plugins.copytools.base import Ability, Fault, Move, Moved, ToolError, Watch, source_fault, target_fault
from pilot.plugins.copytools.local import LocalTool

#: A pipe as source must be refused, not waited for: hence O_NONBLOCK, which plain files ignore.
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
_WRITE = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW


#: From this size on a copy inside the kernel, with a second thread for the hash, is worth starting one.
_LARGE = 32 << 20


class Copy(LocalTool):
    """Local file to local file. Permission bits go with the file, as far as the umask lets them."""

    ability: ClassVar[Ability] = Ability(hashes=True, parallel=2)

    def move(self, moves: Sequence[Move], watch: Watch) -> Iterator[Moved]:
        """Copy one after the other, all through one buffer."""
        buffer = bytearray(BLOCK)
        for move in moves:
            try:
                watch.begin(move)
                moved = _copy(move, watch, buffer)
            except ToolError as error:
                if error.fault is Fault.CANCELLED:
                    raise
                moved = Moved(fault=error.fault, detail=error.detail)
            yield moved


def _copy(move: Move, watch: Watch, buffer: bytearray) -> Moved:
    try:
        source = os.open(move.source, _READ)
    except OSError as error:
        raise source_fault(error, move.source) from error
    try:
        found = os.fstat(source)
        if not stat.S_ISREG(found.st_mode):
            raise ToolError(Fault.UNSUPPORTED, f"{move.source} is not a plain file")
        return _copy_to(source, found, move, watch, buffer)
    finally:
        os.close(source)


def _copy_to(source: int, found: os.stat_result, move: Move, watch: Watch, buffer: bytearray) -> Moved:
    hasher = Hasher(move.kinds)
    try:
        target = os.open(move.target, _WRITE, found.st_mode & 0o777 | 0o200)
        try:
            if move.feed is not None:
                size = _copy_fed(source, target, move, hasher, watch, buffer)
            elif found.st_size < _LARGE:
                size = copy_stream(source, target, hasher, watch.moved, buffer)
            else:
                size = copy_large(source, target, hasher, watch.moved)
            if move.fsync:
                os.fsync(target)
        finally:
            os.close(target)
    except OSError as error:
        raise target_fault(error, move.target) from error
    return Moved(size=size, checksums=hasher.values(), checksum_seconds=hasher.seconds)


def _copy_fed(source: int, target: int, move: Move, hasher: Hasher, watch: Watch, buffer: bytearray) -> int:
    """Copy what another target of the same file may have read already."""
    view = memoryview(buffer)
    at = 0
    while count := move.feed.read(source, view, at):
        block = view[:count]
        hasher.update(block)
        write_all(target, block)
        at += count
        watch.moved(count)
    return at
