"""The pilot's own log: lines for people on stderr, and for each job the lines about it in its `pilot.log`."""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from pilot.lib.redact import RedactingFormatter, Redactor

Through = Callable[[Callable[[], object]], bool]
#: So many lines of a job wait for a disk that does not answer.
_MOST_WAITING = 10_000
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


def _at_once(write: Callable[[], object]) -> bool:
    write()
    return True


class _Patient(logging.Handler):
    """Loses lines rather than the pilot where the file cannot be written: no directory, a full disk.

    `through` has the writing done, and tells whether it was; lines that were not written go with the next one.
    """

    def __init__(self, path: Path, through: Through) -> None:
        super().__init__()
        self._path, self._through = path, through
        self._waiting: deque[str] = deque(maxlen=_MOST_WAITING)
        self._file: TextIO | None = None
        self._one_writer = threading.Lock()

    def emit(self, record: logging.LogRecord) -> None:
        self._waiting.append(self.format(record) + "\n")
        self._through(self._write)

    def let_go(self) -> None:
        """Write what waits, and close the file."""
        self._through(self._write_and_close)

    def _write(self) -> None:
        with self._one_writer, contextlib.suppress(OSError):
            if self._file is None and self._waiting:
                self._file = self._path.open("a", encoding="utf-8", errors="backslashreplace")
            while self._file is not None and self._waiting:
                self._file.write(self._waiting.popleft())
                self._file.flush()

    def _write_and_close(self) -> None:
        self._write()
        with self._one_writer, contextlib.suppress(OSError):
            if self._file is not None:
                self._file.close()
            self._file = None


class JobLog:
    """The log of one job: goes to `<directory>/pilot.log` and, named by the job, to the pilot's log.

    `through(write)` has something written to the directory and tells whether it was done: for a caller that must not
    be held up by a disk.
    """

    def __init__(self, key: str, directory: Path, redactor: Redactor, through: Through = _at_once) -> None:
        self._logger = logging.Logger(f"pilot.job.{key}", logging.DEBUG)
        self._logger.parent = logging.getLogger("pilot")
        self._key = key
        self._handler = _Patient(directory / "pilot.log", through)
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
        self._handler.let_go()
