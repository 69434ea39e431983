"""The pilot's own log: lines for people on stderr, and for each job the lines about it in its `pilot.log`."""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from pathlib import Path

from pilot.lib.redact import RedactingFormatter, Redactor

_FORMAT = "%(asctime)s %(levelname)-7s %(message)s"


class _Utc(logging.Formatter):
    converter = staticmethod(time.gmtime)
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"


def to_stderr(level: str, redactor: Redactor) -> None:
    """Write the pilot's log to stderr from `level` (`debug`, `info`, `warning`, `error`) on, without known secrets."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(RedactingFormatter(_Utc(_FORMAT), redactor))
    handler.setLevel(level.upper())  # the logs of jobs keep all: their lines come here past the logger's level
    root = logging.getLogger("pilot")
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    root.propagate = False


class _Patient(logging.FileHandler):
    """Loses lines rather than the pilot where the file cannot be written: no directory, a full disk."""

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(OSError):
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:
        """A line that cannot be written is lost."""


class JobLog:
    """The log of one job: goes to `<directory>/pilot.log` and, named by the job, to the pilot's log."""

    def __init__(self, key: str, directory: Path, redactor: Redactor) -> None:
        self._logger = logging.Logger(f"pilot.job.{key}", logging.DEBUG)
        self._logger.parent = logging.getLogger("pilot")
        self._key = key
        self._handler = _Patient(directory / "pilot.log", delay=True, encoding="utf-8")
        self._handler.setFormatter(RedactingFormatter(_Utc(_FORMAT), redactor))
        self._logger.addHandler(self._handler)

    def info(self, message: str) -> None:
        """Note what happened."""
        self._logger.info("job %s: %s", self._key, message)

    def error(self, message: str) -> None:
        """Note what went wrong."""
        self._logger.error("job %s: %s", self._key, message)

    def detail(self, text: str) -> None:
        """Note in the job's own log alone what is too long for the pilot's."""
        self._handler.handle(self._logger.makeRecord(self._logger.name, logging.ERROR, "", 0, text, (), None))

    def close(self) -> None:
        """Let go of the file."""
        self._logger.removeHandler(self._handler)
        self._handler.close()
