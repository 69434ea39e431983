"""Apptainer and singularity: images as files, directories or references, as any user, no daemon."""

from __future__ import annotations

from typing import ClassVar

from pilot.core.command import Bind, Command, ContainerRequest
from pilot.core.errors import Failure, QueueNotSetUpForContainers
from pilot.core.job import Exit
from pilot.core.registrylogins import by_digest
from pilot.plugins.containers import marks
from pilot.plugins.containers.allow import allowed
from pilot.plugins.containers.base import Host, Traits
from pilot.plugins.containers.box import cwd_inside
from pilot.plugins.containers.daemonless import Daemonless
from pilot.plugins.containers.diagnose import Family, diagnose
from pilot.plugins.containers.trial import answer, missing_programs
from pilot.plugins.containers.words import APPTAINER, SINGULARITY


class Apptainer(Daemonless):
    """`apptainer exec`. The payload's variables travel as `APPTAINERENV_<name>` and never as arguments.

    Own pid namespace, own /tmp and /dev, no home directory of the user, nothing of the pilot's environment; what more
    is cut off or shown is said by the queue's options.
    """

    traits: ClassVar[Traits] = Traits(image=True, isolates=True, own_path=True)
    program: ClassVar[str] = "apptainer"
    words: ClassVar[Family] = APPTAINER

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self._program = host.program or self.program

    def wrap(self, command: Command, request: ContainerRequest) -> Command:
        """`apptainer --quiet exec OPTIONS IMAGE COMMAND`: all that it tells but warnings would seem the payload's."""
        if not request.image:
            raise QueueNotSetUpForContainers("no image is named")
        inner = allowed(command.env, request.env_names)
        work = Bind(request.workdir, request.work_inside, writable=True)
        argv = [self._program, "--quiet", "exec", "--cleanenv", "--contain", "--pid"]
        if inner.pop("HOME", "") == request.work_inside:
            argv += ["--home", f"{request.workdir}:{request.work_inside}"]
        else:
            argv += ["--no-home"]
        argv += [word for bind in (*request.binds, work) for word in ("--bind", _bind(bind))]
        argv += ["--pwd", cwd_inside(command, request)]
        argv += ["--nv"] if request.gpus else []
        argv += [] if request.network else ["--net", "--network", "none"]
        argv += [*request.options, *request.arguments, by_digest(request.image), *command.argv]
        return Command(tuple(argv), request.workdir, self._environment(inner, request), command.files)

    def check(self) -> str:
        """Whether the program is there and starts."""
        if missing := missing_programs(self._host, self._program):
            return missing
        return answer(Command((self._program, "version"), "/", dict(self._host.env)))

    def diagnose(self, exit: Exit, stderr: str) -> Failure | None:
        """What the runtime says when it fails before the payload runs."""
        return diagnose(self.words, exit, stderr)

    def _environment(self, inner: dict[str, str], request: ContainerRequest) -> dict[str, str]:
        prefix = self.program.upper()
        mark = marks.mark(request)
        env = {**self._host.env, **request.host_env, **mark}
        env |= {f"{prefix}ENV_{name}": value for name, value in {**inner, **mark}.items()}
        return env | login_variables(request, prefix)


class Singularity(Apptainer):
    """The same program under its older name."""

    program: ClassVar[str] = "singularity"
    words: ClassVar[Family] = SINGULARITY


def login_variables(request: ContainerRequest, *prefixes: str) -> dict[str, str]:
    """The variables from which these programs take a login for a registry."""
    if request.login is None:
        return {}
    words = {"USERNAME": request.login.username, "PASSWORD": request.login.password}
    return {f"{prefix}_DOCKER_{name}": value for prefix in prefixes for name, value in words.items()}


def _bind(bind: Bind) -> str:
    for path in (bind.source, bind.inside):
        if ":" in path or "," in path:
            raise QueueNotSetUpForContainers(f"a path with ':' or ',' cannot be bound: {path}")
    return f"{bind.source}:{bind.inside}" if bind.writable else f"{bind.source}:{bind.inside}:ro"
