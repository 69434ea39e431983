"""Jobs from files, without any server."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pilot.core.errors import ConversionFailure, FileHandlingFailure
from pilot.core.update import Answer, JobUpdate
from pilot.lib.documents import read_objects
from pilot.plugins.sources.base import Acquired, Capacity

#: Numbers for jobs that have none in their file.
_FIRST_NUMBER = 10**12


class LocalSource:
    """Gives the jobs of some JSON files, in order and once each; what is told of them goes to a file, if one is named.

    A file holds one description, a list of them, or one on each line. A description without a PandaID gets a number
    of its own that is the same each time, one without an attempt is the first. All files are read at once, so that a
    bad one is told before any job runs.
    """

    events = None

    def __init__(self, files: Iterable[str | Path], report_file: str | Path | None = None) -> None:
        self._jobs = _numbered([job for file in files for job in read_objects(Path(file))])
        self._report_file = Path(report_file) if report_file else None
        self._words: dict[int, str] = {}

    def acquire(self, capacity: Capacity) -> Acquired:
        """The next jobs; `finished` with the last of them."""
        given, self._jobs = self._jobs[: max(0, capacity.jobs)], self._jobs[max(0, capacity.jobs) :]
        return Acquired(tuple(given), finished=not self._jobs)

    def report(self, updates: Sequence[JobUpdate]) -> Sequence[Answer]:
        """Everything is accepted. Raises `FileHandlingFailure` when the report file cannot be written."""
        import msgspec

        for update in updates:
            self._words[update.job_id] = str(update.state)
        if self._report_file:
            lines = b"".join(msgspec.json.encode(update) + b"\n" for update in updates)
            try:
                with self._report_file.open("ab") as file:
                    file.write(lines)
            except OSError as error:
                raise FileHandlingFailure(f"{self._report_file}: {error.strerror}") from error
        return [Answer(True) for _ in updates]

    def status(self, job_ids: Sequence[int]) -> dict[int, str]:
        """The last word that was told of each job by this pilot."""
        return {number: self._words[number] for number in job_ids if number in self._words}

    def worker(self, word: str, node: dict[str, Any] | None, gpus: Sequence[dict[str, Any]]) -> None:
        """There is nobody to be told."""

    def close(self) -> None:
        """Nothing is held."""


def _numbered(jobs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every job with a PandaID. Two with one number are a mistake that would mix up their records."""
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
