"""A copy tool that goes wrong on purpose, the same way for the same seed: for tests and for drills."""

from __future__ import annotations

import os
import random
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import ClassVar

import msgspec

from pilot.core.staging import ToolSettings
from pilot.lib.cancel import Cancel
from pilot.plugins.copytools.base import Ability, CopyTool, Fault, Found, Move, Moved, ToolError, Watch

#: What may be asked for -> the fault that is reported; None: nothing is, the file is spoilt or late.
KINDS: dict[str, Fault | None] = {
    "delay": None,
    "truncate": None,
    "corrupt": None,
    "append": None,
    "500": Fault.SERVICE,
    "enospc": Fault.NO_SPACE,
    "stall": Fault.STALLED,
    "missing": Fault.MISSING,
    "denied": Fault.DENIED,
}


class Chaos:
    """Moves files with another tool and spoils some.

    Options: `tool` (default `copy`), `seed`, `delay_s`, and a rate from 0 to 1 for each of `KINDS`. What happens to
    a file depends on the seed, its name and how often it was tried, and on nothing else.
    """

    ability: ClassVar[Ability] = Ability(hashes=False)

    def __init__(self, settings: ToolSettings) -> None:
        self.settings = settings
        self._words = settings.options.get("chaos", {})
        self._tries: Counter[str] = Counter()
        self._guard = threading.Lock()
        self._inner: CopyTool | None = None

    @property
    def _tool(self) -> CopyTool:
        if self._inner is None:
            from pilot.plugins.copytools.registry import registry

            self._inner = registry().load(self._words.get("tool", "copy"))(self.settings)
        return self._inner

    def move(self, moves: Sequence[Move], watch: Watch) -> Iterator[Moved]:
        """One file after the other, each with its own luck."""
        for move in moves:
            watch.begin(move)
            kind = self._luck(move)
            try:
                moved = self._move(move, kind, watch)
            except ToolError as error:
                if error.fault is Fault.CANCELLED:
                    raise
                moved = Moved(fault=error.fault, detail=error.detail)
            yield moved

    def _luck(self, move: Move) -> str:
        with self._guard:
            self._tries[move.lfn] += 1
            count = self._tries[move.lfn]
        draw = random.Random(f"{self._words.get('seed', '0')}:{move.lfn}:{count}").random()
        for kind in KINDS:
            draw -= float(self._words.get(kind, "0"))
            if draw < 0:
                return kind
        return ""

    def _move(self, move: Move, kind: str, watch: Watch) -> Moved:
        if kind in ("delay", "stall"):
            patience = float(self._words.get("delay_s", "0.1")) if kind == "delay" else watch.stall_s
            watch.cancel.wait(min(patience, watch.seconds_left))
            watch.check()
        fault = KINDS.get(kind)
        if fault is not None:
            raise ToolError(fault, f"{move.lfn}: on purpose")
        (moved,) = self._tool.move((msgspec.structs.replace(move, nameless=False),), watch)
        if kind in ("truncate", "corrupt", "append") and moved.fault is None and move.target[:1] == "/":
            _spoil(move.target, kind)
            return msgspec.structs.replace(moved, size=os.stat(move.target).st_size, checksums={})
        return msgspec.structs.replace(moved, checksums={})

    def stat(self, url: str, cancel: Cancel | None = None) -> Found:
        """As the tool behind it."""
        return self._tool.stat(url, cancel)

    def remove(self, url: str, recursive: bool = False) -> None:
        """As the tool behind it."""
        self._tool.remove(url, recursive)

    def make_directory(self, url: str) -> None:
        """As the tool behind it."""
        self._tool.make_directory(url)

    def close(self) -> None:
        """Close the tool behind it."""
        if self._inner is not None:
            self._inner.close()


def _spoil(path: str, kind: str) -> None:
    size = os.stat(path).st_size
    with open(path, "r+b", buffering=0) as stream:
        if kind == "truncate":
            stream.truncate(size // 2)
        elif kind == "append" or not size:
            stream.seek(0, os.SEEK_END)
            stream.write(b"chaos")
        else:
            stream.seek(size // 2)
            byte = stream.read(1)
            stream.seek(size // 2)
            stream.write(bytes([byte[0] ^ 0xFF]))
