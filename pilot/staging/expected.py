"""What files must be, as the planner wrote it down: the `*.meta` files beside a list of transfers."""

from __future__ import annotations

import os
from typing import Any

import msgspec

from pilot.core.transfer import Checksum
from pilot.lib.checksum import parse_checksum


class _Entry(msgspec.Struct, frozen=True):
    lfn: str = msgspec.field(name="_id")
    attributes: dict[str, Any] = msgspec.field(name="_attributes", default_factory=dict)


_DECODER = msgspec.json.Decoder(list[_Entry])


def expected_sums(directory: str) -> dict[str, tuple[Checksum, ...]]:
    """LFN -> its checksum, out of all `*.meta` files in a directory; of several for one LFN the last counts.

    A file that cannot be read tells nothing. Raises `PilotError` for a checksum that cannot be one.
    """
    import glob

    found: dict[str, tuple[Checksum, ...]] = {}
    for path in sorted(glob.glob(os.path.join(glob.escape(directory), "*.meta"))):
        try:
            with open(path, "rb") as stream:
                entries = _DECODER.decode(stream.read())
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            continue
        for entry in entries:
            value = entry.attributes.get("checksum.value")
            if isinstance(value, str) and value:
                kind = entry.attributes.get("checksum.type") or "sha256"
                found[entry.lfn] = tuple(parse_checksum(f"{kind}:{value}"))
    return found
