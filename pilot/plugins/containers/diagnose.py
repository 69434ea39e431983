"""Which error a runtime's last words mean: the mechanism; the words are in `words`.

Only lines that the runtime itself wrote are looked at, and only when it ended with an exit code that it gives for its
own failures: a payload that happens to print `mount failed` is not taken for one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from pilot.core.errors import ContainerGeneralFailure, Failure, PilotError
from pilot.core.job import Exit

#: Exit code of a shell for a program that is not there; a command that could not be started counts as the same.
NOT_FOUND = 127
_DETAIL_LENGTH = 400
_PROGRAM = r"\b(apptainer|singularity|bwrap|unshare|squashfuse|podman|docker)\b"
_GONE = r"(not found|no such file)"
_ABSENT = re.compile(rf"{_PROGRAM}.*{_GONE}|{_GONE}.*{_PROGRAM}", re.IGNORECASE)


class Case(NamedTuple):
    """Words of a runtime (regular expressions, case ignored), any of which means the error."""

    error: type[PilotError]
    words: tuple[str, ...]


class Family(NamedTuple):
    """Runtimes that speak alike: the exit codes of their own failures, how their lines begin, and the cases.

    The first case that matches wins; lines of theirs that fit no case are a general failure. `missing` is the
    error of a program that is not there.
    """

    codes: frozenset[int]
    speaker: re.Pattern[str]
    cases: Sequence[Case]
    missing: type[PilotError]


def diagnose(family: Family, exit: Exit, stderr: str) -> Failure | None:
    """The failure of the runtime that these last words tell, or None."""
    if exit.code == NOT_FOUND and _ABSENT.search(stderr):
        return family.missing(_short(stderr)).failure()
    if exit.code not in family.codes:
        return None
    text = "\n".join(line for line in stderr.splitlines() if family.speaker.match(line))
    if not text:
        return None
    for case in family.cases:
        if any(re.search(words, text, re.IGNORECASE) for words in case.words):
            return case.error(_short(text)).failure()
    return ContainerGeneralFailure(_short(text)).failure()


def _short(text: str) -> str:
    """The last words on one line, not too long for a report."""
    line = " / ".join(part.strip() for part in text.strip().splitlines()[-3:])
    return line if len(line) <= _DETAIL_LENGTH else f"...{line[-_DETAIL_LENGTH:]}"
