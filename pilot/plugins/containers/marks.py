"""Which processes belong to a container without a daemon: those that carry its mark in their environment."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from pilot.core.command import ContainerRequest
from pilot.lib.hold import Hold
from pilot.plugins.containers.base import MARK

_PREFIX = f"{MARK}=".encode()


def mark(request: ContainerRequest) -> dict[str, str]:
    """The variable that makes every process of this container known as such."""
    return {MARK: f"{request.token}/{request.name}"}


def marked(proc: str) -> Iterator[tuple[int, str, str]]:
    """Every process that has a mark, as (pid, token, name). Processes of other users cannot be looked into."""
    for entry in os.scandir(proc):
        if entry.name.isdigit():
            value = _mark_of(proc, int(entry.name))
            if value is not None:
                token, _, name = value.rpartition("/")
                yield int(entry.name), token, name


def names_of(proc: str, token: str) -> tuple[str, ...]:
    """The names of all containers that carry this token, each once."""
    return tuple(dict.fromkeys(name for _, owner, name in marked(proc) if owner == token))


def kill(proc: str, name: str) -> int:
    """End every process of the named container by SIGKILL, again until none is left; returns how many were hit.

    A process is held before its mark is read once more: a number that was given to somebody else in the
    meantime is never signalled.
    """
    hit = 0
    while found := [pid for pid, _, other in marked(proc) if other == name and pid != os.getpid()]:
        fresh = sum(_kill_one(proc, pid, name) for pid in found)
        hit += fresh
        if not fresh:
            break
    return hit


def _kill_one(proc: str, pid: int, name: str) -> int:
    with suppress(ProcessLookupError, PermissionError):
        held = Hold(pid)
        try:
            value = _mark_of(proc, pid)
            if value is not None and value.rpartition("/")[2] == name:
                held.send(signal.SIGKILL)
                return 1
        finally:
            held.close()
    return 0


def _mark_of(proc: str, pid: int) -> str | None:
    """The mark of a process. The environment of one that has ended reads as empty."""
    try:
        environment = Path(proc, str(pid), "environ").read_bytes()
    except OSError:
        return None
    for variable in environment.split(b"\0"):
        if variable.startswith(_PREFIX):
            return variable[len(_PREFIX) :].decode(errors="replace")
    return None
