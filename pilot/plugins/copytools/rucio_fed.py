"""A local file to a Rucio storage as blocks that other targets are fed from as well.

Rucio's own upload client reads a file three times: for two checksums and to send it. Here Rucio tells where the file is
to lie, the copy tool for that protocol sends it and takes the checksums on the way, and then Rucio is told of it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from pilot.core.staging import ToolSettings
from pilot.lib.files import discard, local_path, part_path
from pilot.lib.urls import scheme_of
from pilot.plugins.copytools.base import CopyTool, Fault, Move, Moved, ToolError, Watch, target_fault

#: The tools that need nothing of Rucio but the place.
_TOOLS = frozenset({"copy", "xrootd", "http", "gfal"})
#: With these Rucio's own way, which may know other credentials or another protocol, is worth being tried at once.
ANOTHER_WAY = frozenset(
    {Fault.DENIED, Fault.REFUSED, Fault.CREDENTIAL, Fault.EXPIRED, Fault.NO_TOOL, Fault.UNSUPPORTED, Fault.NETWORK}
)

Ask = Callable[[Mapping[str, Any]], Mapping[str, Any]]


class RucioFed:
    """Sends for the copy tool `rucio`. Any thread."""

    def __init__(self, settings: ToolSettings) -> None:
        self._settings = settings
        self._made: dict[str, CopyTool] = {}
        self._guard = threading.Lock()

    def send(self, move: Move, job: Mapping[str, Any], watch: Watch, ask: Ask) -> Moved:
        """Send and, if the job wants that, register. Raises `ToolError`; then nothing is left at the storage.

        `ask` answers a request to Rucio, or raises. `UNSUPPORTED`: only Rucio itself can write there.
        """
        told = ask({"do": "place", **job})
        pfn = str(told["pfn"])
        tool = self._tool(pfn, bool(told["signed"]))
        if _exists(tool, pfn):
            raise ToolError(Fault.EXISTS, pfn)
        moved = self._move(tool, move, pfn, watch)
        try:
            if local_path(pfn) is None:
                _check(tool, pfn, moved, watch)
            if told["register"]:
                ask({"do": "register", **job, **told, "size": moved.size, "sums": moved.checksums})
        except ToolError:
            _take_back(tool, pfn)
            raise
        wanted = {kind: value for kind, value in moved.checksums.items() if kind in move.kinds}
        return Moved(moved.size, wanted, moved.checksum_seconds, target=pfn, proven=True)

    def _tool(self, pfn: str, signed: bool) -> CopyTool:
        from pilot.plugins.copytools.registry import by_scheme, registry

        name = by_scheme().get(scheme_of(pfn), "")
        if name not in _TOOLS or signed:
            raise ToolError(Fault.UNSUPPORTED, f"{pfn}: only Rucio itself can write there")
        with self._guard:
            if name not in self._made:
                self._made[name] = registry().load(name)(self._settings)
            return self._made[name]

    def _move(self, tool: CopyTool, move: Move, pfn: str, watch: Watch) -> Moved:
        """Move to the place, a local one by way of a temporary name. Raises `ToolError`."""
        final = local_path(pfn)
        target = part_path(final, f"{os.getpid():x}") if final else pfn
        kinds = tuple(dict.fromkeys((*move.kinds, "adler32", "md5")))
        try:
            if final:
                os.makedirs(os.path.dirname(final), exist_ok=True)
            words = {"target": target, "kinds": kinds, "overwrite": True, "nameless": False}
            (moved,) = tool.move((msgspec.structs.replace(move, **words),), watch)
            if moved.fault is not None:
                raise ToolError(moved.fault, moved.detail)
            for expected in move.checksums:
                if moved.checksums.get(expected.kind, expected.value) != expected.value:
                    raise ToolError(Fault.CORRUPT, f"{move.source}: {expected.kind} is not {expected.value}")
            if final:
                os.rename(target, final)
            return moved
        except ToolError as error:
            if final:
                discard(target)
            elif error.fault is Fault.CORRUPT:
                _take_back(tool, pfn)
            raise
        except OSError as error:
            raise target_fault(error, pfn) from error

    def close(self) -> None:
        """Close the tools that were made."""
        with self._guard:
            made, self._made = list(self._made.values()), {}
        for tool in made:
            tool.close()


def _exists(tool: CopyTool, pfn: str) -> bool:
    try:
        tool.stat(pfn)
    except ToolError as error:
        if error.fault in (Fault.MISSING, Fault.UNSUPPORTED):
            return False
        raise
    return True


def _check(tool: CopyTool, pfn: str, moved: Moved, watch: Watch) -> None:
    """Raise `ToolError` if the storage says that it has something else."""
    try:
        found = tool.stat(pfn, watch.cancel)
    except ToolError as error:
        if error.fault is Fault.UNSUPPORTED:
            return
        raise
    wrong = [kind for kind, value in found.checksums.items() if moved.checksums.get(kind, value) != value]
    if wrong or found.size not in (None, moved.size):
        raise ToolError(Fault.DAMAGED, f"{pfn} is not what was sent: {', '.join(wrong) or f'{found.size} bytes'}")


def _take_back(tool: CopyTool, pfn: str) -> None:
    """Remove what nobody shall find; what went wrong before is told."""
    try:
        tool.remove(pfn)
    except ToolError:
        pass
