"""Logins for image registries, as a user's or a site's secrets tell them, and the one that an image needs. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pilot.core.command import RegistryLogin
from pilot.core.fields import literal

#: The secret, or the variable of the pilot's environment, that holds logins (protocol.md section 10).
TOKENS = "DOCKER_TOKENS"
_HUB = "docker.io"
_DOCKER = "docker://"
_SCHEMES = (_DOCKER, "oras://", "https://", "http://")
_HUBS = frozenset({"", "index.docker.io", "index.docker.io/v1", "registry-1.docker.io", "registry.hub.docker.com"})


def logins_of(value: object) -> tuple[RegistryLogin, ...]:
    """The logins in a list of `{username, token, registry_path}`, or in its JSON text; what is none is left out."""
    found: Any = literal(value) if isinstance(value, str) else value
    entries = [found] if isinstance(found, Mapping) else found if isinstance(found, (list, tuple)) else []
    return tuple(login for entry in entries if isinstance(entry, Mapping) and (login := _login(entry)) is not None)


def login_for(image: str, logins: Iterable[RegistryLogin]) -> RegistryLogin | None:
    """The login whose registry path is the longest beginning of the image's name, for that registry; None if none is.

    An image that is a file needs none. A login without a registry is for Docker Hub and sent nowhere else.
    """
    if not is_reference(image):
        return None
    words = _named(image).split("/")
    fitting = [login for login in logins if _begins(words, _path(login.registry).split("/"))]
    best = max(fitting, key=lambda login: _path(login.registry).count("/"), default=None)
    return best and RegistryLogin(best.username, best.password, words[0])


def is_reference(image: str) -> bool:
    """Whether the image is named by a registry, and not a file or directory of this machine."""
    return bool(image) and not image.startswith(("/", ".", "file:")) and not image.endswith((".sif", ".img", ".sqsh"))


def qualified(image: str) -> str:
    """An image named by `docker://` with its registry: docker's own hub where the name has none, as with docker.

    Other names stay as they are: what they mean is for the runtime to say.
    """
    name = image.removeprefix(_DOCKER)
    return image if name == image or name.startswith("/") else _DOCKER + _with_registry(name)


def by_digest(image: str) -> str:
    """`name:tag@sha256:...` without its tag, which says less and which runtimes refuse beside a digest."""
    name, at, digest = image.partition("@")
    head, colon, tag = name.rpartition(":")
    return f"{head}@{digest}" if at and colon and "/" not in tag else image


def _login(entry: Mapping[str, Any]) -> RegistryLogin | None:
    username, token = str(entry.get("username") or ""), str(entry.get("token") or entry.get("password") or "")
    return RegistryLogin(username, token, str(entry.get("registry_path") or "")) if username and token else None


def _named(image: str) -> str:
    """The image's name with its registry, without scheme and tag."""
    name = _with_registry(_plain(image).partition("@")[0])
    head, colon, last = name.rpartition(":")
    return head if colon and "/" not in last else name


def _with_registry(name: str) -> str:
    host, slash, _ = name.partition("/")
    if slash and ("." in host or ":" in host or host == "localhost"):
        return name
    return f"{_HUB}/{name if slash else f'library/{name}'}"


def _path(registry: str) -> str:
    plain = _plain(registry).strip("/")
    return _HUB if plain in _HUBS else plain


def _plain(text: str) -> str:
    for scheme in _SCHEMES:
        text = text.removeprefix(scheme)
    return text


def _begins(words: list[str], path: list[str]) -> bool:
    return words[: len(path)] == path
