"""Links instead of copies: symbolic and hard ones."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar

from pilot.lib.files import discard
from pilot.plugins.copytools.base import Ability, Fault, Move, Moved, ToolError, Watch, source_fault, target_fault
from pilot.plugins.copytools.copy import Reflink
from pilot.plugins.copytools.local import LocalTool


class Symlink(LocalTool):
    """Makes the target a symbolic link to the source. The source must be a file that can be read."""

    ability: ClassVar[Ability] = Ability()

    def move(self, moves: Sequence[Move], watch: Watch) -> Iterator[Moved]:
        """One link after the other."""
        return _each(moves, watch, lambda move: os.symlink(os.path.abspath(move.source), move.target))


class BlindLink(LocalTool):
    """Makes a symbolic link to a path as it is written, which may exist only elsewhere (inside a container)."""

    ability: ClassVar[Ability] = Ability(blind=True)

    def move(self, moves: Sequence[Move], watch: Watch) -> Iterator[Moved]:
        """One link after the other."""
        for move in moves:
            watch.begin(move)
            try:
                discard(move.target)
                os.symlink(move.source, move.target)
                yield Moved()
            except OSError as error:
                fault = target_fault(error, move.target)
                yield Moved(fault=fault.fault, detail=fault.detail)


class Hardlink(LocalTool):
    """Makes the target a second name of the source: who writes to one writes to the other.

    A file that may not have a second name (another owner's, another file system's) is cloned, else copied.
    """

    ability: ClassVar[Ability] = Ability()

    def move(self, moves: Sequence[Move], watch: Watch) -> Iterator[Moved]:
        """One link after the other; what cannot be linked is cloned or copied."""
        copier = Reflink(self.settings)
        for moved, move in zip(_each(moves, watch, _link), moves, strict=True):
            if moved.fault in (Fault.BROKEN, Fault.REFUSED):
                yield from copier.move((move,), watch)
            else:
                yield moved


def _link(move: Move) -> None:
    os.link(os.path.realpath(move.source), move.target)


def _each(moves: Sequence[Move], watch: Watch, link: Callable[[Move], None]) -> Iterator[Moved]:
    for move in moves:
        watch.begin(move)
        try:
            size = _size(move.source)
            discard(move.target)
            link(move)
            moved = Moved(size=size)
        except ToolError as error:
            moved = Moved(fault=error.fault, detail=error.detail)
        except OSError as error:
            fault = target_fault(error, move.target)
            moved = Moved(fault=fault.fault, detail=fault.detail)
        yield moved


def _size(path: str) -> int:
    """The size of a source that is there and can be read; a link is made only to such a one."""
    try:
        with open(path, "rb", buffering=0) as stream:
            return os.fstat(stream.fileno()).st_size
    except OSError as error:
        raise source_fault(error, path) from error
