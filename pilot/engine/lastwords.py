"""What a payload wrote last: where a reason for its failure is looked for first."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from pilot.lib.activelog import tail

_ERRORS_BYTES, _OUTPUT_BYTES = 16384, 512


class Words(NamedTuple):
    """The end of its standard error, or, of a payload that wrote nothing there, of its standard output."""

    text: str
    on_stdout: bool


def last_words(directory: Path) -> Words:
    """Read them from a job's directory."""
    errors = tail(directory / "payload.stderr", _ERRORS_BYTES)
    if errors.strip():
        return Words(errors, False)
    return Words(tail(directory / "payload.stdout", _OUTPUT_BYTES), True)
