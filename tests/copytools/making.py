"""Small makers for tests of staging: a transferer, files, orders."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pilot.core.staging import StagingSettings, ToolSettings
from pilot.core.transfer import Checksum, Endpoint, Outcome, Transfer
from pilot.lib.cancel import Cancel
from pilot.plugins.copytools import registry
from pilot.staging.toolbox import Toolbox
from pilot.staging.transfer import Transferer


def transferer(tools: ToolSettings | None = None, **settings: Any) -> Transferer:
    settings = {"backoff_s": 0.001, **settings}
    box = Toolbox(registry.registry(), registry.by_scheme(), registry.ALIASES, tools, registry.abilities())
    return Transferer(StagingSettings(**settings), box, seed=1)


def order(source: Path | str, target: Path | str, **more: Any) -> Transfer:
    lfn = str(target).rpartition("/")[2]
    return Transfer(lfn=lfn, sources=(Endpoint(str(source)),), targets=(Endpoint(str(target)),), **more)


def content(path: Path, data: bytes = b"some bytes") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def adler(data: bytes) -> tuple[Checksum, ...]:
    return (Checksum("adler32", f"{zlib.adler32(data):08x}"),)


def carry(orders: Sequence[Transfer], tools: ToolSettings | None = None, **more: Any) -> list[Outcome]:
    """Carry out with a transferer of its own, which is closed afterwards."""
    told = {name: more.pop(name) for name in ("on_attempt", "on_bytes") if name in more}
    cancel = more.pop("cancel", None) or Cancel()
    mover = transferer(tools, **more)
    try:
        return mover.carry_out(orders, cancel=cancel, **told)
    finally:
        mover.close()
