"""No container: the payload sees the host's files, in its own environment."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from pilot.core.command import Command, ContainerRequest
from pilot.core.errors import Failure, QueueNotSetUpForContainers
from pilot.core.job import Exit
from pilot.plugins.containers import marks
from pilot.plugins.containers.allow import allowed
from pilot.plugins.containers.base import Host, Traits


class NoContainer:
    """Runs the command as it is, marked so that it can be found and ended."""

    traits: ClassVar[Traits] = Traits()

    def __init__(self, host: Host) -> None:
        self._host = host

    def wrap(self, command: Command, request: ContainerRequest) -> Command:
        """The same command with the container's mark in its environment."""
        if request.image:
            raise QueueNotSetUpForContainers(f"image {request.image} asked for, but the queue has no container runtime")
        env = allowed(command.env, request.env_names)
        return msgspec.structs.replace(command, env={**env, **marks.mark(request)})

    def end(self, name: str) -> None:
        """End every process that carries the mark."""
        marks.kill(self._host.proc, name)

    def ours(self, token: str) -> tuple[str, ...]:
        """What carries the token."""
        return marks.names_of(self._host.proc, token)

    def pid(self, name: str) -> int | None:
        """Everything descends from the wrapped command."""
        return None

    def digest(self, image: str) -> str:
        """There are no images."""
        return ""

    def check(self) -> str:
        """Nothing is ever missing."""
        return ""

    def diagnose(self, exit: Exit, stderr: str) -> Failure | None:
        """There is no runtime that could fail."""
        return None
