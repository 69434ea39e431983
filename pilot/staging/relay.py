"""From one remote place to another through a local file, when no tool does it in one go."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence

import msgspec

from pilot.lib.cancel import Cancel
from pilot.lib.files import discard
from pilot.plugins.copytools.base import Ability, CopyTool, Fault, Found, Move, Moved, ToolError, Watch, target_fault


class Relay:
    """Two tools as one: the first brings a file here, the second takes it away; nothing stays here.

    The size and checksums that are expected are checked before anything is sent on.
    """

    def __init__(self, first: CopyTool, second: CopyTool, spool_dir: str = "") -> None:
        self._first = first
        self._second = second
        self._spool_dir = spool_dir or tempfile.gettempdir()
        hashes = first.ability.hashes or second.ability.hashes
        self.ability = Ability(third_party=True, hashes=hashes)

    def move(self, moves: Sequence[Move], watch: Watch) -> Iterator[Moved]:
        """One file after the other, so that only one lies here at a time."""
        for move in moves:
            try:
                descriptor, here = tempfile.mkstemp(prefix=".pilot-relay-", dir=self._spool_dir)
            except OSError as error:
                fault = target_fault(error, self._spool_dir)
                raise ToolError(_here(fault.fault), fault.detail) from error
            os.close(descriptor)
            try:
                yield self._relay(move, here, watch)
            finally:
                discard(here)

    def _relay(self, move: Move, here: str, watch: Watch) -> Moved:
        (came,) = self._first.move((msgspec.structs.replace(move, target=here, resume=False, nameless=False),), watch)
        if came.fault:
            return msgspec.structs.replace(came, fault=_here(came.fault))
        wrong = [c for c in move.checksums if came.checksums.get(c.kind, c.value) != c.value]
        if wrong or move.size not in (None, came.size):
            detail, kind = f"{move.source} has {came.size} bytes instead of {move.size}", ""
            if wrong:
                kind = wrong[0].kind
                detail = f"{move.source}: {kind} {came.checksums[kind]} instead of {wrong[0].value}"
            return Moved(came.size, fault=Fault.CORRUPT, detail=detail, kind=kind)
        (went,) = self._second.move((msgspec.structs.replace(move, source=here),), watch)
        if went.fault is Fault.MISSING:
            return Moved(fault=Fault.BROKEN, detail=went.detail)
        return went if went.fault or went.checksums else msgspec.structs.replace(went, checksums=came.checksums)

    def stat(self, url: str, cancel: Cancel | None = None) -> Found:
        """Asks the tool that sends: only targets are asked about."""
        return self._second.stat(url, cancel)

    def remove(self, url: str, recursive: bool = False) -> None:
        """Removes at the target."""
        self._second.remove(url, recursive)

    def make_directory(self, url: str) -> None:
        """Makes one at the target."""
        self._second.make_directory(url)

    def close(self) -> None:
        """Both tools are closed by who made them."""


def _here(fault: Fault) -> Fault:
    """A full disk on the way is this machine's, not the storage's."""
    return Fault.NO_ROOM if fault is Fault.NO_SPACE else fault
