"""Why a payload failed, from how it ended and what it wrote last (protocol.md 10, failure mapping). Pure."""

from __future__ import annotations

import re
import signal
from typing import NamedTuple

from pilot.core.errors import (
    BadAlloc,
    ChmodTransform,
    Failure,
    LsetupTimedOut,
    MissingInstallation,
    MissingUserCode,
    NfsSqlite,
    NoLocalSpace,
    PayloadExecutionFailure,
    PayloadOutOfMemory,
    PayloadSegmentationFault,
    PilotError,
    RemoteFileOpenTimedOut,
    Sigxcpu,
    TransformNotFound,
    UnknownTransformFailure,
    UnrecognizedTransformArguments,
)
from pilot.core.job import Exit

_HINT = 200


class Surroundings(NamedTuple):
    """What stood around the payload. Two exit codes mean something only where a certain script ran before it.

    `oom_kills` counts what the kernel ended for lack of memory, `alrb` that the ALRB set-up ran, `remote_open` that
    the remote open test did, `on_stdout` that what it wrote last is from its standard output: it wrote no errors.
    """

    oom_kills: int = 0
    alrb: bool = False
    remote_open: bool = False
    on_stdout: bool = False


_PLAIN = Surroundings()
#: What a payload that failed wrote, and the error that it means; the first that is found counts.
_WORDS: tuple[tuple[re.Pattern[str], type[PilotError]], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE | re.MULTILINE), error)
    for pattern, error in (
        (r"std::bad_alloc", BadAlloc),
        (r"\bout of memory\b|cannot allocate memory|^MemoryError\b", PayloadOutOfMemory),
        (r"no space left on device|disk quota exceeded", NoLocalSpace),
        (r"prepare 5 database is locked|database is locked.*nfs", NfsSqlite),
        (r"unrecognized arguments?:|unrecognised arguments?:", UnrecognizedTransformArguments),
        (
            r"ERROR: unable to retrieve .*\bjobO|fail to download user code|source code archive .*not found",
            MissingUserCode,
        ),
        (r"no such release|release .* is not installed|AtlasSetup\(FATAL\)", MissingInstallation),
    )
)


def diagnose(
    exit: Exit, stderr_tail: str, said: tuple[int, str] | None = None, around: Surroundings = _PLAIN
) -> Failure | None:
    """The failure of a payload that ended so; None for one that ended well.

    `stderr_tail` is the end of what it wrote, `said` the code and words of its own error report
    (`payload_error_report.json`), which come before everything guessed. The message always tells the exit code or
    the signal, whatever the error is called.
    """
    if exit.code == 0:
        return None
    hint = (said[1] if said and said[1] else "") or last_words(stderr_tail)
    story = _story(exit) + (f"; {_voice(said, around)}: {hint[:_HINT]}" if hint else "")
    if said is not None:
        return PayloadExecutionFailure(story).failure()
    return _kind(exit, stderr_tail, around)(story).failure()


def _kind(exit: Exit, stderr_tail: str, around: Surroundings) -> type[PilotError]:
    if around.oom_kills and (exit.signal == signal.SIGKILL or exit.status == 128 + signal.SIGKILL):
        return PayloadOutOfMemory
    if exit.signal is not None or exit.status > 128:
        ended_by = exit.signal if exit.signal is not None else exit.status - 128
        if ended_by == signal.SIGSEGV:
            return PayloadSegmentationFault
        if ended_by == signal.SIGXCPU:
            return Sigxcpu
    for pattern, error in _WORDS:
        if pattern.search(stderr_tail):
            return error
    if exit.code == 2 and around.alrb:
        return LsetupTimedOut
    if exit.code == 3 and around.remote_open:
        return RemoteFileOpenTimedOut
    by_code = {126: ChmodTransform, 127: TransformNotFound, 251: UnknownTransformFailure, 255: UnknownTransformFailure}
    return by_code.get(exit.code or 0, PayloadExecutionFailure)


def _story(exit: Exit) -> str:
    if exit.signal is None:
        return f"exit code {exit.status}"
    try:
        return f"ended by {signal.Signals(exit.signal).name}"
    except ValueError:
        return f"ended by signal {exit.signal}"


def _voice(said: tuple[int, str] | None, around: Surroundings) -> str:
    """Where its words come from: its own report or standard error, or else its standard output."""
    return "on stdout it said" if around.on_stdout and not (said and said[1]) else "it said"


def last_words(text: str) -> str:
    """The last line that says anything."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")
