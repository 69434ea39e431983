"""Telling what was done where it may not get through: a closed pipe, a full disk. It undoes nothing that was done."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO

import click

_STANDARD = ("standard output", "standard error")


def open_report(path: str | None) -> IO[str] | None:
    """The file of --report, so that a wrong name is told before anything is moved; None without one, and for `-`.

    Raises `UsageError`.
    """
    if path is None or path == "-":
        return None
    try:
        return open(path, "w", encoding="utf-8")
    except OSError as error:
        raise click.UsageError(f"--report: {path}: {error.strerror}") from error


class Teller:
    """Writes where it is asked to. `missed`: something could not be written, for another reason than a reader who has
    left."""

    def __init__(self) -> None:
        self.missed = False

    @contextmanager
    def to(self, where: str) -> Iterator[None]:
        """For a block that writes to `where`; what cannot be written is mentioned on standard error."""
        try:
            yield
            if where == _STANDARD[0] and sys.stdout is not None:
                sys.stdout.flush()
        except BrokenPipeError:
            self._give_up(where)
        except OSError as error:
            self.missed = True
            self._give_up(where)
            with suppress(OSError):
                click.echo(f"pilot: {where}: {error.strerror}", err=True)

    @staticmethod
    def _give_up(where: str) -> None:
        if where in _STANDARD:
            _silence(sys.stdout if where == _STANDARD[0] else sys.stderr)


def _silence(stream: IO[str] | None) -> None:
    """Have what nobody takes go nowhere: else it is tried again when the program ends."""
    if stream is not None:
        with suppress(OSError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)
