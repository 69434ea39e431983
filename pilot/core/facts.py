"""What is known of a job beside its phase and its error: gathered on the way, kept in the PilotDB, told at the end."""

from __future__ import annotations

import msgspec

from pilot.core.job import Exit
from pilot.core.update import StoredFile
from pilot.core.usage import Usage


class Facts(msgspec.Struct, frozen=True, omit_defaults=True):
    """The facts of one attempt. Times are epoch s; `timing_s` seconds by phase, in protocol.md 3.1's names.

    `runs` counts how often the payload was started: more than once only if a pilot died beside it.
    """

    acquired: float = 0.0
    started: float | None = None
    ended: float | None = None
    runs: int = 0
    timing_s: dict[str, float] = {}
    exit: Exit | None = None
    usage: Usage | None = None
    input_bytes: int = 0
    workdir_bytes: int | None = None
    stored: tuple[StoredFile, ...] = ()
    events: int | None = None
    payload_error: tuple[int, str] | None = None
    log_excerpt: str = ""
    corrupted_files: tuple[str, ...] = ()
    metrics: dict[str, str] = {}
    debug: bool = False
    no_cleanup: bool = False
