"""Jobs from files, without any server."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pilot.core.errors import FileHandlingFailure
from pilot.core.numbering import numbered
from pilot.core.update import Answer, JobUpdate
from pilot.lib.documents import read_objects
from pilot.plugins.sources.base import Acquired, Capacity


class LocalSource:
    """Gives the jobs of some JSON files, in order and once each; what is told of them goes to a file, if one is named.

    A file holds one description, a list of them, or one on each line. A description without a PandaID gets a number
    of its own that is the same each time, one without an attempt is the first. All files are read at once, so that a
    bad one is told before any job runs.
    """

    events = None

    def __init__(self, files: Iterable[str | Path], report_file: str | Path | None = None) -> None:
        self._jobs = numbered([job for file in files for job in read_objects(Path(file))])
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
