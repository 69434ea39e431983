"""The process that stands for a docker container: `docker_stand_in SPEC -- COMMAND...`.

It pulls the image if it is not there, creates and starts the container, passes its output and the signals on, and ends
with its exit code after it has been removed. 125 means that the daemon or the image failed, not the payload.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from types import FrameType
from typing import Any

import docker.errors
import msgspec
import requests
from docker.api.client import APIClient
from docker.types import DeviceRequest
from docker.types import Mount as DockerMount

from pilot.plugins.containers.docker_client import (
    LABEL_NAME,
    LABEL_TOKEN,
    LOGIN_PASSWORD,
    LOGIN_REGISTRY,
    LOGIN_USERNAME,
    PAYLOAD_PREFIX,
    ContainerSpec,
    address,
    connect,
    unreachable,
)
from pilot.plugins.containers.inside import with_init

ENGINE_FAILED = 125
_ANSWER_LIMIT_S = 60
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StandIn:
    """One container from its creation to its removal. Signals are heard from the first line on."""

    def __init__(self, spec: ContainerSpec, argv: list[str], environ: dict[str, str]) -> None:
        self._spec = spec
        self._argv = argv
        self._environ = environ
        self._client = self._connect(_ANSWER_LIMIT_S)
        self._asked_to_end = 0
        self._started = False

    def run(self) -> int:
        """The payload's exit code."""
        for number in _SIGNALS:
            signal.signal(number, self._on_signal)
        self._have_image()
        self._remove_leftover()
        container: str = self._create()["Id"]
        try:
            if self._asked_to_end:
                return 128 + self._asked_to_end
            output = self._client.attach(container, stdout=True, stderr=True, stream=True, demux=True)
            pump = threading.Thread(target=_pump, args=(output,), name="output", daemon=True)
            self._client.start(container)
            self._started = True
            if self._asked_to_end:
                self._pass_on(self._asked_to_end)
            pump.start()
            code = self._wait(container)
            pump.join()
            return code
        finally:
            with suppress(docker.errors.NotFound):
                self._client.remove_container(container, force=True, v=True)

    def _connect(self, limit_s: float | None) -> APIClient:
        return connect(self._environ, self._spec.socket, limit_s)

    def _have_image(self) -> None:
        try:
            self._client.inspect_image(self._spec.image)
        except docker.errors.ImageNotFound:
            name, _, tag = self._spec.image.partition("@")
            if not tag:
                head, colon, last = name.rpartition(":")
                name, tag = (head, last) if colon and "/" not in last else (name, "latest")
            try:
                self._client.pull(name, tag=tag, auth_config=self._login())
            except docker.errors.APIError as error:
                raise docker.errors.ImageNotFound(f"unable to pull {self._spec.image}: {error.explanation}") from error
            self._client.inspect_image(self._spec.image)

    def _login(self) -> dict[str, str] | None:
        if LOGIN_USERNAME not in self._environ:
            return None
        return {
            "username": self._environ[LOGIN_USERNAME],
            "password": self._environ.get(LOGIN_PASSWORD, ""),
            "serveraddress": self._environ.get(LOGIN_REGISTRY, ""),
        }

    def _remove_leftover(self) -> None:
        """A container of this name that this pilot left behind; anybody else's stays and makes the creation fail."""
        with suppress(docker.errors.NotFound):
            found = self._client.inspect_container(self._spec.name)
            if (found["Config"]["Labels"] or {}).get(LABEL_TOKEN) == self._spec.token:
                self._client.remove_container(self._spec.name, force=True, v=True)

    def _create(self) -> dict[str, Any]:
        spec = self._spec
        mounts = [DockerMount(one.target, one.source, type="bind", read_only=not one.writable) for one in spec.mounts]
        limits: dict[str, Any] = {}
        if spec.memory_mb:
            limits.update(mem_limit=f"{spec.memory_mb}m", memswap_limit=f"{spec.memory_mb}m")
        if spec.processes:
            limits.update(pids_limit=spec.processes)
        if spec.cores:
            limits.update(nano_cpus=int(spec.cores * 1e9))
        if spec.cpus:
            limits.update(cpuset_cpus=spec.cpus)
        if spec.gpus:
            limits.update(device_requests=[DeviceRequest(device_ids=list(spec.gpus), capabilities=[["gpu"]])])
        host_config = self._client.create_host_config(
            mounts=mounts, network_mode="host" if spec.network else "none", **limits
        )
        start = len(PAYLOAD_PREFIX)
        inner = {name[start:]: value for name, value in self._environ.items() if name.startswith(PAYLOAD_PREFIX)}
        created: dict[str, Any] = self._client.create_container(
            spec.image,
            command=list(with_init(tuple(self._argv), spec.note)),
            entrypoint=[],
            name=spec.name,
            user=self._user(),
            working_dir=spec.workdir,
            environment=inner,
            labels={LABEL_TOKEN: spec.token, LABEL_NAME: spec.name},
            host_config=host_config,
        )
        return created

    def _user(self) -> str:
        """The pilot's own user, so that what the payload writes is the pilot's; a rootless daemon calls it root."""
        options = self._client.info().get("SecurityOptions") or []
        return "0:0" if any("rootless" in option for option in options) else self._spec.user

    def _wait(self, container: str) -> int:
        """Wait in a thread of its own: the main thread must be free to hear signals."""
        code: list[int] = []
        failed: list[Exception] = []

        def wait() -> None:
            try:
                code.append(int(self._connect(None).wait(container)["StatusCode"]))
            except (docker.errors.DockerException, requests.RequestException) as error:
                failed.append(error)

        waiter = threading.Thread(target=wait, name="wait", daemon=True)
        waiter.start()
        waiter.join()
        if failed:
            raise failed[0]
        return code[0]

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        self._asked_to_end = number
        if self._started:
            self._pass_on(number)

    def _pass_on(self, number: int) -> None:
        """On a connection of its own: the handler may interrupt another request."""
        with suppress(docker.errors.DockerException, requests.RequestException):
            self._connect(_ANSWER_LIMIT_S).kill(self._spec.name, signal=number)


def _pump(output: Iterator[tuple[bytes | None, bytes | None]]) -> None:
    for pair in output:
        for number, piece in zip((1, 2), pair, strict=True):
            while piece:
                piece = piece[os.write(number, piece) :]


def main(argv: list[str]) -> int:
    """Run the container; what the daemon says when it fails goes to stderr as `docker: ...`."""
    spec = msgspec.json.decode(argv[0], type=ContainerSpec)
    if why := unreachable(address(os.environ, spec.socket)):
        print(f"docker: the daemon does not answer: {why}", file=sys.stderr)
        return ENGINE_FAILED
    try:
        return StandIn(spec, argv[2:], dict(os.environ)).run()
    except (docker.errors.DockerException, requests.RequestException) as error:
        said = getattr(error, "explanation", None) or error
        print(f"docker: {said}", file=sys.stderr)
        return ENGINE_FAILED
