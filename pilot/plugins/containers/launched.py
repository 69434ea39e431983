"""Containers that an experiment's own script starts (the ALRB form of protocol.md section 10), told as data."""

from __future__ import annotations

import posixpath
import shlex
from typing import ClassVar

from pilot.core.command import Bind, Command, ContainerRequest
from pilot.core.errors import Failure, QueueNotSetUpForContainers
from pilot.core.job import Exit
from pilot.plugins.containers import marks
from pilot.plugins.containers.allow import allowed
from pilot.plugins.containers.apptainer import login_variables
from pilot.plugins.containers.base import Traits
from pilot.plugins.containers.box import cwd_inside
from pilot.plugins.containers.daemonless import Daemonless
from pilot.plugins.containers.diagnose import diagnose
from pilot.plugins.containers.words import APPTAINER

#: The script's shell waits for the container when it is told to end, and ends with its exit code.
_TRAP = "trap 'exit $?' TERM INT HUP\n"


class Launched(Daemonless):
    """A shell that runs the launcher's lines; the payload's command is in one of its files."""

    traits: ClassVar[Traits] = Traits(image=True, isolates=True)

    def wrap(self, command: Command, request: ContainerRequest) -> Command:
        """`bash -c <the launcher's lines>`. The payload's own command follows as arguments that nobody reads, so that
        records show it."""
        launcher = request.launcher
        if not request.image:
            raise QueueNotSetUpForContainers("no image and no platform is named")
        if launcher is None:
            raise QueueNotSetUpForContainers("the experiment says nothing of how its containers are started")
        options = shlex.join(request.options) or launcher.options
        options += "".join(f" -B {shlex.quote(_bind(bind))}" for bind in request.binds)
        filled = {
            "@image@": shlex.quote(request.image),
            "@options@": shlex.quote(options.strip()),
            "@arguments@": shlex.join(request.arguments),
            "@payload@": f"cd {shlex.quote(cwd_inside(command, request))} && exec {shlex.join(command.argv)}",
            "@setup@": "\n".join(command.setup) or "true",
            "@inside@": request.work_inside,
        }
        files = {posixpath.basename(name): _filled(text, filled) for name, text in launcher.files.items()}
        line = _TRAP + _filled(launcher.line, filled)
        env = {**allowed(command.env, request.env_names), **marks.mark(request)}
        env |= login_variables(request, "APPTAINER", "SINGULARITY")
        argv = ("/bin/bash", "-c", line, "launcher", *command.argv)
        return Command(argv, request.workdir, env, {**command.files, **files})

    def check(self) -> str:
        """What is missing is known by the script alone."""
        return ""

    def diagnose(self, exit: Exit, stderr: str) -> Failure | None:
        """What apptainer says, which such scripts start."""
        return diagnose(APPTAINER, exit, stderr)


def _bind(bind: Bind) -> str:
    return f"{bind.source}:{bind.inside}" if bind.writable else f"{bind.source}:{bind.inside}:ro"


def _filled(text: str, words: dict[str, str]) -> str:
    """The text with all that stands for something put in, in one pass: what is put in is not looked at again."""
    import re

    return re.sub("|".join(words), lambda found: words[found[0]], text)
