"""Which container a job's payload gets, and how one is found again by what the PilotDB knows of it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from pilot.core.command import Bind, Command, ContainerRequest, RegistryLogin
from pilot.core.errors import Failure, PilotError, QueueNotSetUpForContainers
from pilot.core.job import Exit, JobDefinition
from pilot.core.queue import QueueData
from pilot.core.registrylogins import login_for
from pilot.core.usage import Usage
from pilot.lib.activelog import tail
from pilot.lib.cgroup import Bounds, number
from pilot.plugins.containers.base import Container, oom_note
from pilot.runtime.containment import ANY_RUNTIME, Rules, Wanted, starts_its_own, wanted
from pilot.runtime.environment import DEFAULT_PATH
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

    def wrap(self, command: Command, seen: Iterable[str] = ()) -> Command:
        """The command that runs `command` inside. Raises `QueueNotSetUpForContainers`.

        Inputs that were not copied can be read inside and not be changed: files whose paths are in `seen`, and those
        that links in the job's directory lead to. Where an image brings a search path of its own, the machine's is not
        put in its place.
        """
        if self.container.traits.own_path and command.env.get("PATH") == DEFAULT_PATH:
            command = msgspec.structs.replace(command, env={k: v for k, v in command.env.items() if k != "PATH"})
        outside = (*seen, *_targets_of_links(Path(self.request.workdir)))
        binds = (*self.request.binds, *(Bind(path) for path in dict.fromkeys(outside)))
        return self.container.wrap(command, msgspec.structs.replace(self.request, binds=binds))

    def end(self) -> None:
        """End what runs inside; a runtime that does not answer is not waited for."""
        with contextlib.suppress(PilotError):
            self.container.end(self.request.name)

    def digest(self) -> str:
        """What the image is, as far as anybody knows. May take a moment."""
        with contextlib.suppress(PilotError):
            return self.container.digest(self.request.image) if self.request.image else ""
        return ""

    def counted(self, usage: Usage) -> Usage:
        """The usage with what the kernel ended inside for lack of memory, which nobody may have seen in time."""
        note = Path(self.request.workdir, oom_note(self.request))
        with contextlib.suppress(OSError):
            kills = number(tail(note, 16)) if note.is_file() else 0
            note.unlink(missing_ok=True)
            return msgspec.structs.replace(usage, oom_kills=max(usage.oom_kills, kills))
        return usage

    def diagnose(self, exit: Exit, words: str) -> Failure | None:
        """The runtime's own failure, None if it was the payload's."""
        return self.container.diagnose(exit, words)


class Boxes:
    """The container runtimes of this pilot. `load` makes one by name; `choice` is `auto` or a runtime for every job.

    `image` is used for jobs that name none when a runtime was chosen for every job; `rules` are the experiment's,
    `logins` the site's for registries, which a job's own go before.
    """

    def __init__(
        self,
        load: Callable[[str], Container],
        choice: str = "auto",
        image: str = "",
        rules: Rules | None = None,
        logins: tuple[RegistryLogin, ...] = (),
    ) -> None:
        self._load, self._choice, self._image = load, choice, image
        self._rules, self._logins = rules or Rules(), logins
        self._known: dict[str, Container] = {}

    def runtime(self, name: str) -> Container:
        """One runtime, made once."""
        if name not in self._known:
            self._known[name] = self._load(name)
        return self._known[name]

    def box_of(
        self,
        definition: JobDefinition,
        queue: QueueData,
        name: str,
        workdir: str,
        token: str,
        grant: Grant | None,
        bounds: Bounds | None = None,
        logins: tuple[RegistryLogin, ...] = (),
    ) -> Box | None:
        """The container for a job, None if it runs in none (protocol.md section 10).

        `bounds` are passed on to a runtime whose payloads are outside of the job's own cgroup; `logins` are the job's.
        Raises `QueueNotSetUpForContainers` (1384) when it needs one and there is no runtime for it.
        """
        if starts_its_own(definition):
            return None
        found = wanted(definition, queue, self._rules, workdir)
        if self._choice == "auto" and found is not None and not found.runtime:
            raise QueueNotSetUpForContainers(
                f"image {found.image} asked for, but the queue has no container_type for it"
            )
        if self._choice != "auto":
            image = definition.image or self._image
            found = Wanted(self._choice, image) if found is None else _forced(found, self._choice, image)
        if found is None:
            return None
        runtime = self._first_here(found.image) if found.runtime == ANY_RUNTIME else found.runtime
        if runtime == "none":
            return None
        container = self.runtime(runtime)
        outside = bounds if bounds and container.traits.daemon else Bounds()
        request = ContainerRequest(
            name=name,
            workdir=workdir,
            token=token,
            image=found.image,
            inside=found.inside if found.image else "",
            binds=found.binds,
            options=found.options,
            arguments=found.arguments,
            gpus=grant.gpus if grant else (),
            cpus=tuple(sorted(grant.cpus)) if grant else (),
            cores=outside.cores,
            memory_mb=outside.memory_mb,
            processes=outside.processes,
            login=login_for(found.image, logins) or login_for(found.image, self._logins),
            launcher=found.launcher,
        )
        return Box(runtime, container, request)

    def end(self, mark: str) -> None:
        """End a container by what the PilotDB keeps of it. Raises `PilotError` when the runtime does not answer."""
        runtime, _, name = mark.partition(":")
        if name:
            self.runtime(runtime).end(name)

    def _first_here(self, image: str) -> str:
        """The runtime for an image when nobody names one."""
        missing = []
        for name in _PREFERRED:
            trouble = self.runtime(name).check()
            if not trouble:
                return name
            missing.append(f"{name}: {trouble}")
        raise QueueNotSetUpForContainers(f"image {image} needs a container runtime; {'; '.join(missing)}")


def _forced(found: Wanted, runtime: str, image: str) -> Wanted:
    """What was wanted, in the runtime that was chosen for every job: options of another one are left out."""
    if found.runtime in ("", ANY_RUNTIME, runtime):
        return msgspec.structs.replace(found, runtime=runtime)
    return msgspec.structs.replace(found, runtime=runtime, image=image, options=(), arguments=(), launcher=None)


def _targets_of_links(directory: Path) -> list[str]:
    """What links in the job's directory point to outside of it."""
    outside = []
    with contextlib.suppress(OSError):
        for entry in os.scandir(directory):
            if entry.is_symlink():
                target = os.readlink(entry.path)
                if target.startswith("/") and not Path(target).is_relative_to(directory) and os.path.exists(target):
                    outside.append(target)
    return outside
