"""The numbers of jobs that come from files, where no server has given them any. Pure."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from pilot.core.errors import ConversionFailure

#: Numbers for jobs that have none in their file.
_FIRST_NUMBER = 10**12


def numbered(jobs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every job with a PandaID. Raises `ConversionFailure` for two with one number: that would mix up their records."""
    taken: set[str] = set()
    for job in jobs:
        number = job.get("PandaID")
        if number is not None and (key := f"{number}.{_attempt(job)}") in taken:
            raise ConversionFailure(f"PandaID {number} is given to two jobs: every job needs a number of its own")
        elif number is not None:
            taken.add(key)
    numbers = {key.partition(".")[0] for key in taken}
    own = [{} if job.get("PandaID") is not None else {"PandaID": _own_number(job, numbers)} for job in jobs]
    return [{**job, **number, "attemptNr": _attempt(job)} for job, number in zip(jobs, own, strict=True)]


def _attempt(job: dict[str, Any]) -> Any:
    """The number of the attempt; a description without one is a first attempt."""
    return 1 if job.get("attemptNr") is None else job["attemptNr"]


def _own_number(job: dict[str, Any], taken: set[str]) -> int:
    """A number that follows from what the description says, and from how many like it came before.

    So a pilot that starts again after a kill -9 knows the jobs of the same file again, and takes those of another
    file in the same directory for what they are: other jobs.
    """
    text = json.dumps(job, sort_keys=True)
    for copy in range(len(taken) + 1):
        digest = hashlib.blake2b(f"{copy} {text}".encode("utf-8", "surrogatepass"), digest_size=5).digest()
        number = _FIRST_NUMBER + int.from_bytes(digest, "big")
        if str(number) not in taken:
            break
    taken.add(str(number))
    return number
