"""An exception that nobody expected: one line for a person, its traceback in a file that the line names."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click

from pilot.core.errors import PilotError
from pilot.core.exitcodes import ExitCode
from pilot.lib.redact import Redactor
from pilot.lib.traceback_file import in_one_line, put_down, story_of


class Unexpected(click.ClickException):
    """The program failed, not its user."""

    exit_code = ExitCode.EXCEPTION


def unexpected(error: Exception, path: Path | None = None, redactor: Redactor | None = None) -> Unexpected:
    """Put the traceback away (without a path: where temporary files go) and say where it is."""
    redactor = redactor or Redactor()
    path = path or Path(tempfile.gettempdir()) / f"pilot-{os.getuid()}.log"
    story = story_of(error, redactor)
    words = f"an exception that nobody expected ({in_one_line(error, redactor)})"
    return Unexpected(f"{words}; its traceback is in {path}" if put_down(path, story) else f"{words}: {story}")


@contextlib.contextmanager
def told_in(path: Path, redactor: Redactor) -> Iterator[None]:
    """What fails inside without being an error that users know goes into this file."""
    try:
        yield
    except (PilotError, click.ClickException, click.exceptions.Exit, click.Abort, OSError):
        raise
    except Exception as error:  # it is raised again, in one line that names the file
        raise unexpected(error, path, redactor) from error
