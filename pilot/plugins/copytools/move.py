"""Moves local files: renamed where both ends are on one file system, else copied and then removed."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from typing import ClassVar

from pilot.lib.files import discard, part_path
from pilot.plugins.copytools.base import Ability, Fault, Move, Moved, ToolError, Watch, source_fault, target_fault
from pilot.plugins.copytools.copy import Copy
from pilot.plugins.copytools.local import LocalTool


class MoveFile(LocalTool):
    """The source is gone once the target is whole under its final name, and not before."""

    ability: ClassVar[Ability] = Ability(lands=True)

    def move(self, moves: Sequence[Move], watch: Watch) -> Iterator[Moved]:
        """One file after the other."""
        for move in moves:
            watch.begin(move)
            try:
                moved = self._move(move, watch)
            except ToolError as error:
                if error.fault is Fault.CANCELLED:
                    raise
                moved = Moved(fault=error.fault, detail=error.detail)
            yield moved

    def _move(self, move: Move, watch: Watch) -> Moved:
        try:
            found = os.lstat(move.source)
        except OSError as error:
            raise source_fault(error, move.source) from error
        if os.path.islink(move.source):
            return self._copy(move, watch)
        if _same_file(found, move.target):
            return _one_name_less(move, found.st_size)
        try:
            os.rename(move.source, move.target)
        except OSError as error:
            if error.errno == errno.EXDEV:
                return self._copy(move, watch)
            raise target_fault(error, move.target) from error
        return Moved(size=found.st_size)

    def _copy(self, move: Move, watch: Watch) -> Moved:
        part = part_path(move.target, f"{os.getpid():x}")
        (moved,) = Copy(self.settings).move((_to(move, part),), watch)
        if moved.fault:
            discard(part)
            return Moved(fault=moved.fault, detail=moved.detail.replace(part, move.target))
        try:
            os.rename(part, move.target)
            if os.path.islink(move.source) or not os.path.samefile(move.source, move.target):
                os.unlink(move.source)  # but not where a mount shows the target's place twice
        except OSError as error:
            discard(part)
            raise target_fault(error, move.target) from error
        return moved


def _same_file(source: os.stat_result, target: str) -> bool:
    try:
        found = os.lstat(target)
    except OSError:
        return False
    return os.path.samestat(source, found)


def _one_name_less(move: Move, size: int) -> Moved:
    """The target is the file already: a rename would do nothing. If by another name, the old one goes."""
    ends = (os.path.split(path) for path in (move.source, move.target))
    source, target = ((os.path.realpath(head), name) for head, name in ends)
    if source != target:
        try:
            os.unlink(move.source)
        except OSError as error:
            raise target_fault(error, move.source) from error
    return Moved(size=size)


def _to(move: Move, target: str) -> Move:
    return Move(source=move.source, target=target, size=move.size, kinds=move.kinds, fsync=move.fsync)
