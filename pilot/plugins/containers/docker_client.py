"""What the docker plugin and the process that stands for a container share: the words between them, the connection."""

from __future__ import annotations

import socket as socketlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from pilot.core.registrylogins import by_digest

if TYPE_CHECKING:
    from docker.api.client import APIClient

LABEL_TOKEN = "pilot.token"
LABEL_NAME = "pilot.name"
#: The payload's variables travel in the stand-in's environment under this prefix, so that none of them acts on it.
PAYLOAD_PREFIX = "PILOT_INSIDE_"
LOGIN_USERNAME = "PILOT_REGISTRY_USERNAME"
LOGIN_PASSWORD = "PILOT_REGISTRY_PASSWORD"
LOGIN_REGISTRY = "PILOT_REGISTRY"

DEFAULT_SOCKET = "unix:///var/run/docker.sock"


class Mount(msgspec.Struct, frozen=True):
    """A path of the host and where it is seen."""

    source: str
    target: str
    writable: bool


class ContainerSpec(msgspec.Struct, frozen=True):
    """What the stand-in is to create; it travels as one argument and holds no secret."""

    name: str
    token: str
    image: str
    user: str
    workdir: str
    mounts: tuple[Mount, ...]
    socket: str = ""
    cpus: str = ""
    cores: float = 0.0
    gpus: tuple[str, ...] = ()
    memory_mb: int = 0
    processes: int = 0
    network: bool = True
    note: str = ""


def connect(env: Mapping[str, str], socket: str, limit_s: float | None) -> APIClient:
    """A connection to the daemon at `socket`, else where `DOCKER_HOST` says, else the usual place."""
    from docker.api.client import APIClient
    from docker.utils import kwargs_from_env

    known = {name: value for name, value in env.items() if name.startswith("DOCKER_")}
    told = kwargs_from_env(environment={"DOCKER_HOST": "", **known})
    return APIClient(**{**told, "base_url": address(env, socket)}, timeout=limit_s)


def address(env: Mapping[str, str], socket: str) -> str:
    """Where the daemon is asked: what is forced, what `DOCKER_HOST` says, the usual place."""
    return socket or env.get("DOCKER_HOST", "") or DEFAULT_SOCKET


def unreachable(address: str) -> str:
    """Why nobody hears at a local address; empty if somebody does, or if it is not local.

    Asked before the SDK is: that costs less than importing it, and it leaves a socket open when nobody hears.
    """
    kind, _, path = address.partition("://")
    if kind != "unix":
        return ""
    with socketlib.socket(socketlib.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except OSError as error:
            return f"{path}: {error.strerror or error}"
    return ""


def reference(image: str) -> str:
    """The image as the daemon names it: without `docker://`, and by its digest alone where that is told."""
    return by_digest(image.removeprefix("docker://"))


def digest_of(found: Mapping[str, Any], image: str) -> str:
    """The digest in what the daemon tells of an image: its registry's, else the image's own number."""
    name = image.partition("@")[0]
    told = [str(entry).partition("@") for entry in found.get("RepoDigests") or ()]
    return next((digest for repository, _, digest in told if name.startswith(repository)), str(found.get("Id") or ""))
