"""Podman, as root or as any user: no daemon, the client stays with the container and passes signals on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import ClassVar

from pilot.core.command import Bind, Command, ContainerRequest
from pilot.core.errors import ContainerGeneralFailure, Failure, QueueNotSetUpForContainers
from pilot.core.job import Exit
from pilot.core.registrylogins import qualified
from pilot.lib.oneoff import hear
from pilot.plugins.containers import docker_client as words
from pilot.plugins.containers.allow import allowed
from pilot.plugins.containers.base import Host, Traits, oom_note
from pilot.plugins.containers.box import cwd_inside
from pilot.plugins.containers.diagnose import diagnose
from pilot.plugins.containers.digest import named, of_file
from pilot.plugins.containers.inside import with_init
from pilot.plugins.containers.trial import answer, missing_programs
from pilot.plugins.containers.words import ENGINE

_ROOT = str(Path(__file__).parents[3])
_START = (
    "import sys; sys.path.insert(0, sys.argv[1]); from pilot.plugins.containers.podman_stand_in import main; "
    "sys.exit(main(sys.argv[2:]))"
)
_ANSWER_LIMIT_S = 60.0
#: Variables that podman itself, or the dynamic linker in its name, obeys.
_OBEYED = ("PATH", "HOME", "LD_", "XDG_", "CONTAINER", "PODMAN_", "STORAGE_", "REGISTRY_", "DBUS_", "DOCKER_")


class Podman:
    """Containers of podman. An image that is a directory is taken as the root file system, with an overlay on it."""

    traits: ClassVar[Traits] = Traits(
        image=True, isolates=True, memory=True, cpus=True, daemon=True, own_gpus=True, own_path=True
    )

    def __init__(self, host: Host) -> None:
        self._host = host
        self._uid = host.user[0]
        self._program = host.program or "podman"

    def wrap(self, command: Command, request: ContainerRequest) -> Command:
        """A process before `podman run ...`, with the payload's variables named and their values in the environment."""
        if not request.image:
            raise QueueNotSetUpForContainers("no image is named")
        options, inner = self._environment(command, request)
        argv = [self._program, "run", "--rm", "--preserve-fds", "1", "--name", request.name]
        argv += ["--entrypoint", "[]", "--security-opt", "label=disable"]
        argv += ["--label", f"{words.LABEL_TOKEN}={request.token}"]
        argv += ["--label", f"{words.LABEL_NAME}={request.name}", *_limits(request), *options]
        argv += ["--network", "host" if request.network else "none", "--workdir", cwd_inside(command, request)]
        argv += [] if self._uid == 0 else ["--userns", "keep-id"]
        work = Bind(request.workdir, request.work_inside, writable=True)
        argv += [word for bind in (*request.binds, work) for word in ("--mount", _mount(bind))]
        image = words.reference(qualified(request.image))
        argv += [
            *request.options,
            *request.arguments,
            *(["--rootfs", f"{image}:O"] if image.startswith("/") else [image]),
        ]
        argv += with_init(command.argv, f"{request.work_inside}/{oom_note(request)}")
        env = {**inner, **self._host.env, **request.host_env}
        if request.login is not None:
            env |= {words.LOGIN_USERNAME: request.login.username, words.LOGIN_PASSWORD: request.login.password}
            env |= {words.LOGIN_REGISTRY: request.login.registry or _registry_of(image)}
        start = (self._host.python or sys.executable, "-I", "-S", "-c", _START, _ROOT)
        return Command((*start, *argv), request.workdir, env, command.files)

    def end(self, name: str) -> None:
        """Remove the container, running or not."""
        self._ask("rm", "--force", "--ignore", "--volumes", "--time", "0", name)

    def ours(self, token: str) -> tuple[str, ...]:
        """All containers with the token's label."""
        said = self._ask("ps", "--all", "--filter", f"label={words.LABEL_TOKEN}={token}", "--format", "{{.Names}}")
        return tuple(said.split())

    def pid(self, name: str) -> int | None:
        """The container's first process as the host numbers it, while it runs."""
        said = self._ask("ps", "--filter", f"name=^{name}$", "--format", "{{.Pid}}").strip()
        return int(said) if said.isdigit() and said != "0" else None

    def digest(self, image: str) -> str:
        """The digest that the registry gave the image, or podman when it was imported."""
        image = words.reference(qualified(image))
        if image.startswith("/"):
            return of_file(image)
        return named(image) or self._ask("image", "inspect", "--format", "{{.Digest}}", image).strip()

    def check(self) -> str:
        """Whether the program is there and can reach its storage."""
        if missing := missing_programs(self._host, self._program):
            return missing
        return answer(Command((self._program, "ps", "--quiet"), "/", dict(self._host.env)))

    def diagnose(self, exit: Exit, stderr: str) -> Failure | None:
        """What podman said before the payload ran."""
        return diagnose(ENGINE, exit, stderr)

    def _environment(self, command: Command, request: ContainerRequest) -> tuple[list[str], dict[str, str]]:
        """Options that name the payload's variables, and the variables whose values podman takes from its own.

        A name that podman itself obeys (PATH, HOME, ...), or has with another value, is told as an argument.
        """
        inner = allowed(command.env, request.env_names)
        outer = {**self._host.env, **request.host_env}
        own = {name for name, value in inner.items() if name.startswith(_OBEYED) or outer.get(name, value) != value}
        options = [word for name in inner for word in ("--env", f"{name}={inner[name]}" if name in own else name)]
        return options, {name: value for name, value in inner.items() if name not in own}

    def _ask(self, *words: str) -> str:
        try:
            done = hear((self._program, *words), _ANSWER_LIMIT_S, self._host.env)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ContainerGeneralFailure(f"podman does not answer: {error}") from error
        if done.returncode:
            raise ContainerGeneralFailure(f"podman {words[0]}: {' '.join(done.stderr.split()[-40:])}")
        return done.stdout


def _limits(request: ContainerRequest) -> list[str]:
    argv: list[str] = []
    if request.memory_mb:
        argv += ["--memory", f"{request.memory_mb}m", "--memory-swap", f"{request.memory_mb}m"]
    if request.cores:
        argv += ["--cpus", f"{request.cores:g}"]
    if request.processes:
        argv += ["--pids-limit", str(request.processes)]
    if request.cpus:
        argv += ["--cpuset-cpus", ",".join(map(str, sorted(request.cpus)))]
    return argv + [word for gpu in request.gpus for word in ("--device", f"nvidia.com/gpu={gpu}")]


def _mount(bind: Bind) -> str:
    """A bind as one CSV record: a path may hold any character but the one that ends it."""
    fields = ["type=bind", f"source={bind.source}", f"target={bind.inside}", *([] if bind.writable else ["readonly"])]
    return ",".join(f'"{field}"' if "," in field else field for field in fields)


def _registry_of(image: str) -> str:
    first = image.split("/")[0]
    return first if "." in first or ":" in first else "docker.io"
