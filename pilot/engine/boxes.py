"""Which container a job's payload gets, and how one is found again by what the PilotDB knows of it."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Callable
from dataclasses import dataclass

from pilot.core.command import Command, ContainerRequest
from pilot.core.errors import Failure, PilotError, QueueNotSetUpForContainers
from pilot.core.job import Exit, JobDefinition
from pilot.core.queue import QueueData
from pilot.plugins.containers.base import Container
from pilot.runtime.slots import Grant

#: Which runtime is taken for an image when neither the queue nor the settings name one; the first that is here.
_PREFERRED = ("apptainer", "singularity", "podman", "docker", "sif")


@dataclass(frozen=True)
class Box:
    """The container of one payload. `mark` is what the PilotDB keeps: `<runtime>:<name>`."""

    runtime: str
    container: Container
    request: ContainerRequest

    @property
    def mark(self) -> str:
        """How a later pilot finds the container."""
        return f"{self.runtime}:{self.request.name}"

    def wrap(self, command: Command) -> Command:
        """The command that runs `command` inside. Raises `QueueNotSetUpForContainers`."""
        return self.container.wrap(command, self.request)

    def end(self) -> None:
        """End what runs inside; a runtime that does not answer is not waited for."""
        with contextlib.suppress(PilotError):
            self.container.end(self.request.name)

    def diagnose(self, exit: Exit, words: str) -> Failure | None:
        """The runtime's own failure, None if it was the payload's."""
        return self.container.diagnose(exit, words)


class Boxes:
    """The container runtimes of this pilot. `load` makes one by name; `choice` is `auto` or a runtime for every job.

    `image` is used for jobs that name none when a runtime was chosen for every job.
    """

    def __init__(self, load: Callable[[str], Container], choice: str = "auto", image: str = "") -> None:
        self._load, self._choice, self._image = load, choice, image
        self._known: dict[str, Container] = {}

    def runtime(self, name: str) -> Container:
        """One runtime, made once."""
        if name not in self._known:
            self._known[name] = self._load(name)
        return self._known[name]

    def box_of(
        self, definition: JobDefinition, queue: QueueData, name: str, workdir: str, token: str, grant: Grant | None
    ) -> Box | None:
        """The container for a job, None if it runs in none (protocol.md section 10).

        Raises `QueueNotSetUpForContainers` (1384) when it needs one and there is no runtime for it.
        """
        image = definition.image or (self._image if self._choice != "auto" else "")
        if definition.transformation.rpartition("/")[2].startswith("runcontainer"):
            return None  # starts its container by itself
        runtime = self._runtime_for(image, queue)
        if runtime in ("", "none"):
            return None
        request = ContainerRequest(
            name=name,
            workdir=workdir,
            token=token,
            image=image,
            options=tuple(shlex.split(queue.container_options)),
            gpus=grant.gpus if grant else (),
            cpus=tuple(sorted(grant.cpus)) if grant else (),
            memory_mb=0,
        )
        return Box(runtime, self.runtime(runtime), request)

    def end(self, mark: str) -> None:
        """End a container by what the PilotDB keeps of it. Raises `PilotError` when the runtime does not answer."""
        runtime, _, name = mark.partition(":")
        if name:
            self.runtime(runtime).end(name)

    def _runtime_for(self, image: str, queue: QueueData) -> str:
        if self._choice != "auto":
            return self._choice
        if not image:
            return ""
        named = queue.containers.get("pilot", "")
        if named:
            return named
        missing = []
        for name in _PREFERRED:
            trouble = self.runtime(name).check()
            if not trouble:
                return name
            missing.append(f"{name}: {trouble}")
        raise QueueNotSetUpForContainers(f"image {image} needs a container runtime; {'; '.join(missing)}")
