"""No container: the payload sees the host's files, in its own environment."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from pilot.core.command import Command, ContainerRequest
from pilot.core.errors import Failure, QueueNotSetUpForContainers
from pilot.core.job import Exit
from pilot.plugins.containers import marks
from pilot.plugins.containers.allow import allowed
from pilot.plugins.containers.base import Traits
from pilot.plugins.containers.daemonless import Daemonless


class NoContainer(Daemonless):
    """Runs the command as it is, marked so that it can be found and ended."""

    traits: ClassVar[Traits] = Traits()

    def wrap(self, command: Command, request: ContainerRequest) -> Command:
        """The same command with the container's mark in its environment."""
        if request.image:
            raise QueueNotSetUpForContainers(f"image {request.image} asked for, but the queue has no container runtime")
        env = allowed(command.env, request.env_names)
        return msgspec.structs.replace(command, env={**env, **marks.mark(request)})

    def digest(self, image: str) -> str:
        """There are no images."""
        return ""

    def check(self) -> str:
        """Nothing is ever missing."""
        return ""

    def diagnose(self, exit: Exit, stderr: str) -> Failure | None:
        """There is no runtime that could fail."""
        return None
