"""The site's own scripts: `lsm-get SOURCE TARGET` and `lsm-put [facts] SOURCE TARGET`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import ClassVar

from pilot.core.staging import ToolSettings
from pilot.lib.cancel import Cancel
from pilot.plugins.copytools.base import Ability, Fault, Found, Move, Moved, ToolError, Watch
from pilot.plugins.copytools.external import call
from pilot.plugins.copytools.gridwords import fault_of_move

#: Reads the set-up script into the shell and becomes the command; file names are arguments, never part of the program.
_WITH_SETUP = '. "$0" && exec "$@"'


class Lsm:
    """Files by the scripts of a site. Option `setup`: a script to source before."""

    ability: ClassVar[Ability] = Ability(removes=False, by_replica=True, sets_up=True)

    def __init__(self, settings: ToolSettings) -> None:
        self.settings = settings
        self._setup = settings.options.get("lsm", {}).get("setup", "")

    def move(self, moves: Sequence[Move], watch: Watch) -> Iterator[Moved]:
        """One call for each file."""
        for move in moves:
            watch.begin(move)
            try:
                yield self._get(move, watch) if move.target[:1] == "/" else self._put(move, watch)
            except ToolError as error:
                if error.fault is Fault.CANCELLED:
                    raise
                yield Moved(fault=error.fault, detail=error.detail)

    def _get(self, move: Move, watch: Watch) -> Moved:
        self._call(["lsm-get", move.source, move.target], watch, [move.target], move)
        try:
            return Moved(size=os.stat(move.target).st_size)
        except OSError as error:
            raise ToolError(Fault.CUT, f"{move.source}: lsm-get brought nothing: {error.strerror}") from error

    def _put(self, move: Move, watch: Watch) -> Moved:
        try:
            size = os.stat(move.source).st_size
        except OSError as error:
            raise ToolError(Fault.MISSING, move.source) from error
        words = ["lsm-put", "--size", str(size)]
        for checksum in move.checksums[:1]:
            words += ["--checksum", f"{checksum.kind}:{checksum.value}"]
        words += ["--guid", move.guid] if move.guid else []
        words += ["-t", move.token] if move.token else []
        self._call([*words, move.source, move.target], watch, [], move)
        return Moved(size=size)

    def _call(self, words: list[str], watch: Watch, growing: Sequence[str], move: Move) -> None:
        argv = ["/bin/sh", "-c", _WITH_SETUP, self._setup, *words] if self._setup else words
        ran = call(self.settings, argv, watch, growing)
        if ran.code:
            raise fault_of_move(ran.last_line() or f"{words[0]} gave {ran.code}", move)

    def stat(self, url: str, cancel: Cancel | None = None) -> Found:
        """The scripts tell nothing."""
        raise ToolError(Fault.UNSUPPORTED, "lsm cannot be asked")

    def remove(self, url: str, recursive: bool = False) -> None:
        """The scripts remove nothing."""
        raise ToolError(Fault.UNSUPPORTED, "lsm removes nothing")

    def make_directory(self, url: str) -> None:
        """`lsm-put` makes what it needs."""

    def close(self) -> None:
        """Nothing is held."""
