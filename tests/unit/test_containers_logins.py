"""Logins for image registries, and what an image is beyond its name."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import pytest

from pilot.core.command import RegistryLogin
from pilot.core.registrylogins import by_digest, login_for, logins_of
from pilot.plugins.containers.base import Host
from pilot.plugins.containers.digest import of_file
from pilot.plugins.containers.docker_client import digest_of, reference
from pilot.plugins.containers.none import NoContainer

HEX = "0123456789abcdef" * 4
LOGINS = (
    RegistryLogin("hub", "hub-token"),
    RegistryLogin("group", "group-token", "registry.example/group"),
    RegistryLogin("all", "all-token", "https://registry.example/"),
    RegistryLogin("port", "port-token", "127.0.0.1:5000"),
)


def test_tokens_are_read_as_the_field_writes_them() -> None:
    entries = [
        {"username": "u", "token": "secret-token", "registry_path": "registry.example/group"},
        {"username": "u", "token": ""},
        "nonsense",
    ]
    wanted = (RegistryLogin("u", "secret-token", "registry.example/group"),)
    assert logins_of(json.dumps(entries)) == logins_of(entries) == logins_of(entries[0]) == wanted
    assert logins_of(None) == logins_of("") == logins_of("{broken") == logins_of("3") == ()
    assert "secret-token" not in repr(wanted)


@pytest.mark.parametrize(
    ("image", "user", "registry"),
    [
        ("docker://registry.example/group/tool:1", "group", "registry.example"),
        ("registry.example/other/tool", "all", "registry.example"),
        ("registry.example/grouped/tool", "all", "registry.example"),
        ("127.0.0.1:5000/tool:2", "port", "127.0.0.1:5000"),
        ("docker://alpine:3", "hub", "docker.io"),
        ("user/tool", "hub", "docker.io"),
        ("docker.io/user/tool@sha256:" + HEX, "hub", "docker.io"),
        ("other.example/tool", "", ""),
        ("/images/tool.sif", "", ""),
        ("", "", ""),
    ],
)
def test_an_image_gets_the_login_of_its_own_registry_and_no_other(image: str, user: str, registry: str) -> None:
    found = login_for(image, LOGINS)
    assert (found.username, found.registry) == (user, registry) if found else (user, registry) == ("", "")


def test_a_digest_says_it_all() -> None:
    assert by_digest(f"host:5000/a/b:tag@sha256:{HEX}") == f"host:5000/a/b@sha256:{HEX}"
    assert by_digest("host:5000/a/b:tag") == "host:5000/a/b:tag"
    assert reference(f"docker://a:1@sha256:{HEX}") == f"a@sha256:{HEX}"


def test_what_a_daemon_tells_of_an_image() -> None:
    told = {"RepoDigests": [f"other@sha256:{'0' * 64}", f"host/a@sha256:{HEX}"], "Id": "sha256:id"}
    assert digest_of(told, "host/a:1") == f"sha256:{HEX}"
    assert digest_of({"RepoDigests": None, "Id": "sha256:id"}, "a") == "sha256:id"


def test_what_files_tell_of_an_image(tmp_path: Path) -> None:
    flat = tmp_path / ".flat" / HEX[:2] / HEX
    flat.mkdir(parents=True)
    (tmp_path / "tool:1").symlink_to(flat)
    number = uuid.uuid4()
    (tmp_path / "a.sif").write_bytes(
        b"#!/usr/bin/env run\n".ljust(32, b"\0") + b"SIF_MAGIC\0".ljust(16, b"\0") + number.bytes
    )
    (tmp_path / "b.img").write_bytes(b"hsqs")
    assert of_file(str(tmp_path / "tool:1")) == f"sha256:{HEX}"
    assert of_file(str(tmp_path / "a.sif")) == f"sif:{number}"
    assert of_file(str(tmp_path / "b.img")) == of_file(str(tmp_path / "gone")) == of_file(str(tmp_path)) == ""
    assert of_file(f"docker://a@sha256:{HEX}") == f"sha256:{HEX}"
    assert NoContainer(Host()).digest("a") == ""
