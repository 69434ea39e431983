"""Parts of files of XRootD servers: by the Python package, or by `xrdcp` where only that is installed."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import subprocess
from pathlib import Path
from typing import Protocol

from pilot.core.errors import CommunicationFailure, PilotError, StageInFailed

_PATIENCE_S = 300
_CHUNK = 1 << 20
#: What servers say of files that are not there, or not for us: asking again does not help.
_LASTING = ("[3010]", "[3011]", "No such file", "permission denied", "not authorized")


class Reader(Protocol):
    """Reads bytes of one file."""

    def __call__(self, first: int, count: int) -> bytes:
        """Up to `count` bytes from `first` on; fewer at the file's end. Raises `PilotError`."""

    def close(self) -> None:
        """Let go of what is held."""


def reader(url: str, beside: Path) -> Reader:
    """Whatever is installed; `xrdcp` needs a file for a moment, which lies beside `beside`.

    Raises `StageInFailed` where there is neither, `CommunicationFailure` for a server that is not there.
    """
    try:
        from XRootD import client
    except ImportError as error:
        program = shutil.which("xrdcp")
        if program is None:
            raise StageInFailed(f"{url}: parts of it need xrdcp, or the Python package xrootd") from error
        return ByProgram(program, url, beside.with_name(f"{beside.name}.part"))
    return ByPackage(client.File(), url)


class ByPackage:
    """One open file."""

    def __init__(self, file: object, url: str) -> None:
        self._url = url
        self._file: object = file
        status, _ = file.open(url, timeout=_PATIENCE_S)  # type: ignore[attr-defined]
        if not status.ok:
            raise _failure(url, status.message)

    def __call__(self, first: int, count: int) -> bytes:
        """The bytes."""
        status, data = self._file.read(first, count, timeout=_PATIENCE_S)  # type: ignore[attr-defined]
        if not status.ok:
            raise _failure(self._url, status.message)
        return bytes(data)

    def close(self) -> None:
        """Close the file."""
        self._file.close()  # type: ignore[attr-defined]


class ByProgram:
    """One `xrdcp` for each part: told to continue a copy that has everything before it, as a hole, and ended by the
    kernel at the part's last byte (it may not make its file any larger)."""

    def __init__(self, program: str, url: str, place: Path) -> None:
        self._program, self._url, self._place = program, url, place

    def __call__(self, first: int, count: int) -> bytes:
        """The bytes."""
        descriptor = os.open(self._place, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.truncate(descriptor, first)
            said = self._continue(first + count)
            arrived = os.fstat(descriptor).st_size
            if said is not None and arrived < first + count:
                raise _failure(self._url, said)
            return os.pread(descriptor, count, first)
        finally:
            os.close(descriptor)
            with contextlib.suppress(OSError):
                self._place.unlink()

    def _continue(self, end: int) -> str | None:
        """Let xrdcp write up to `end`; what it said if it failed, as it does where the file goes on."""
        # An old one reads ahead what it will not write: little, if the pieces are small and come one by one.
        small = {"XRD_CPCHUNKSIZE": str(_CHUNK), "XRD_CPPARALLELCHUNKS": "1"}
        argv = ["env", *(f"{name}={value}" for name, value in small.items()), self._program, "--nopbar", "--continue"]
        child = subprocess.Popen(
            [*argv, self._url, str(self._place)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        try:
            with contextlib.suppress(ProcessLookupError):
                resource.prlimit(child.pid, resource.RLIMIT_FSIZE, (end, end))
            said, _ = child.communicate(timeout=_PATIENCE_S)
        except subprocess.TimeoutExpired:
            said = f"nothing came within {_PATIENCE_S} s"
        finally:
            if child.poll() is None:
                child.kill()
            child.wait()
        return None if child.returncode == 0 else said

    def close(self) -> None:
        """Nothing is held."""


def _failure(url: str, said: str) -> PilotError:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    kind = StageInFailed if any(word.lower() in said.lower() for word in _LASTING) else CommunicationFailure
    return kind(f"{url}: {lines[-1][:300] if lines else 'it failed without a word'}")
