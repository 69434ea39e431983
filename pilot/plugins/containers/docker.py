"""Docker, by its SDK: a process of ours stands for the container, so that the pilot always waits on a process."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, TypeVar

import msgspec

from pilot.core.command import Command, ContainerRequest
from pilot.core.errors import ContainerGeneralFailure, Failure, QueueNotSetUpForContainers
from pilot.core.job import Exit
from pilot.plugins.containers import docker_client as words
from pilot.plugins.containers.allow import allowed
from pilot.plugins.containers.base import Host, Traits, oom_note
from pilot.plugins.containers.box import cwd_inside
from pilot.plugins.containers.diagnose import diagnose
from pilot.plugins.containers.digest import named
from pilot.plugins.containers.docker_client import ContainerSpec, Mount
from pilot.plugins.containers.words import ENGINE

if TYPE_CHECKING:
    from docker.api.client import APIClient

T = TypeVar("T")

_ROOT = str(Path(__file__).parents[3])
_START = (
    "import sys; sys.path.insert(0, sys.argv[1]); from pilot.plugins.containers.docker_stand_in import main; "
    "sys.exit(main(sys.argv[2:]))"
)
_ANSWER_LIMIT_S = 30.0


class Docker:
    """Containers of a docker daemon (or of podman's socket, which speaks the same)."""

    traits: ClassVar[Traits] = Traits(
        image=True, isolates=True, memory=True, cpus=True, daemon=True, own_gpus=True, own_path=True
    )

    def __init__(self, host: Host) -> None:
        self._host = host
        self._user = ":".join(map(str, host.user))

    def wrap(self, command: Command, request: ContainerRequest) -> Command:
        """The process that stands for the container: it creates, starts, signals and removes it."""
        if not request.image:
            raise QueueNotSetUpForContainers("no image is named")
        if unknown := (*request.options, *request.arguments):
            raise QueueNotSetUpForContainers(f"options that docker does not take: {' '.join(unknown)}")
        spec = msgspec.json.encode(self._spec(command, request)).decode()
        inner = allowed(command.env, request.env_names).items()
        env = {
            **self._host.env,
            **request.host_env,
            **_login(request),
            **{f"{words.PAYLOAD_PREFIX}{name}": value for name, value in inner},
        }
        start = (self._host.python or sys.executable, "-I", "-c", _START, _ROOT)
        return Command((*start, spec, "--", *command.argv), request.workdir, env, command.files)

    def end(self, name: str) -> None:
        """Remove the container, running or not."""
        import docker.errors

        def remove(client: APIClient) -> None:
            try:
                client.remove_container(name, force=True, v=True)
            except docker.errors.NotFound:
                return

        self._ask(remove)

    def ours(self, token: str) -> tuple[str, ...]:
        """All containers with the token's label."""

        def names(client: APIClient) -> tuple[str, ...]:
            found = client.containers(all=True, filters={"label": f"{words.LABEL_TOKEN}={token}"})
            return tuple(one["Labels"].get(words.LABEL_NAME, one["Id"]) for one in found)

        return self._ask(names)

    def pid(self, name: str) -> int | None:
        """The container's first process as the host numbers it, while it runs."""
        import docker.errors

        def first(client: APIClient) -> int | None:
            try:
                return int(client.inspect_container(name)["State"]["Pid"]) or None
            except docker.errors.NotFound:
                return None

        return self._ask(first)

    def digest(self, image: str) -> str:
        """The digest that the registry gave the image; of one that was imported, the daemon's own."""
        image = words.reference(image)
        return named(image) or self._ask(lambda client: words.digest_of(client.inspect_image(image), image))

    def check(self) -> str:
        """Whether the daemon answers this user."""
        try:
            self._ask(lambda client: client.ping())
        except ContainerGeneralFailure as error:
            return error.detail
        return ""

    def diagnose(self, exit: Exit, stderr: str) -> Failure | None:
        """What the daemon said, as the process that stands for the container passed it on."""
        return diagnose(ENGINE, exit, stderr)

    def _spec(self, command: Command, request: ContainerRequest) -> ContainerSpec:
        binds = (Mount(bind.source, bind.inside, bind.writable) for bind in request.binds)
        return ContainerSpec(
            name=request.name,
            token=request.token,
            image=words.reference(request.image),
            user=self._user,
            workdir=cwd_inside(command, request),
            mounts=(*binds, Mount(request.workdir, request.work_inside, writable=True)),
            socket=self._host.socket,
            cores=request.cores,
            cpus=",".join(map(str, sorted(request.cpus))),
            gpus=request.gpus,
            memory_mb=request.memory_mb,
            processes=request.processes,
            network=request.network,
            note=f"{request.work_inside}/{oom_note(request)}",
        )

    def _ask(self, question: Callable[[APIClient], T]) -> T:
        """Ask the daemon, and say in one line why it did not answer."""
        if why := words.unreachable(words.address(self._host.env, self._host.socket)):
            raise ContainerGeneralFailure(f"docker does not answer: {why}")
        import docker.errors
        import requests

        try:
            client = words.connect(self._host.env, self._host.socket, _ANSWER_LIMIT_S)
            try:
                return question(client)
            finally:
                client.close()
        except (docker.errors.DockerException, requests.RequestException) as error:
            raise ContainerGeneralFailure(f"docker does not answer: {' '.join(str(error).split())}") from error


def _login(request: ContainerRequest) -> dict[str, str]:
    if request.login is None:
        return {}
    login = request.login
    return {
        words.LOGIN_USERNAME: login.username,
        words.LOGIN_PASSWORD: login.password,
        words.LOGIN_REGISTRY: login.registry,
    }
