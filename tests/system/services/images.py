"""A registry of images on loopback that asks for a name and a password (docker-registry), with a small image in it."""

import base64
import json
import secrets
import shutil
import subprocess
from pathlib import Path

from tests.system.services import packages, ports
from tests.system.services.ground import Endpoint, Ground, ServiceFailed
from tests.system.services.process import PATH, spawn, wait_until

NEEDS = ("podman",)
PACKAGES = (*packages.CONTAINERS, *packages.IMAGES)

USER = "reader"
PUSH_WITHIN_S = 120
APPLETS = ("sh", "cat", "cp", "echo", "env", "id", "ls", "pwd", "sleep", "tr")
CONFIG = """
version: 0.1
storage: {{filesystem: {{rootdirectory: {folder}/images}}}}
http: {{addr: "127.0.0.1:{port}"}}
auth: {{htpasswd: {{realm: images, path: {folder}/htpasswd}}}}
"""


def install(ground: Ground) -> None:
    """Nothing beside the packages."""


def start(ground: Ground) -> Endpoint:
    """`registry` is HOST:PORT, `image` the small image's name there, which `user` and `password` may read, `digest`
    what it is. `podman_env` and `apptainer_env` let these speak plain HTTP to it; docker does so on loopback anyway."""
    folder, podman = ground.folder("images"), ground.endpoint("podman")
    port, password = ports.free()[0], secrets.token_hex(16)
    registry = f"127.0.0.1:{port}"
    (folder / "htpasswd").write_text(f"{USER}:{_bcrypt(password)}\n")
    (folder / "config.yml").write_text(CONFIG.format(folder=folder, port=port))
    server = spawn(folder, ["docker-registry", "serve", folder / "config.yml"])
    wait_until(folder, lambda: ports.answers(port), "docker-registry", server)
    (folder / "registries.conf").write_text(f'[[registry]]\nlocation = "{registry}"\ninsecure = true\n')
    env = {**podman["env"], "CONTAINERS_REGISTRIES_CONF": str(folder / "registries.conf")}
    token = base64.b64encode(f"{USER}:{password}".encode()).decode()
    (folder / "auth.json").write_text(json.dumps({"auths": {registry: {"auth": token}}}))
    image = f"{registry}/private/small:1"
    _podman(env, "import", "--quiet", str(_small(folder)), image)
    digests = folder / "digest"
    _podman(env, "push", "--quiet", "--authfile", str(folder / "auth.json"), "--digestfile", str(digests), image)
    _podman(env, "rmi", image)
    return {
        "registry": registry,
        "image": image,
        "digest": digests.read_text().strip(),
        "user": USER,
        "password": password,
        "podman_env": {"CONTAINERS_REGISTRIES_CONF": env["CONTAINERS_REGISTRIES_CONF"]},
        "apptainer_env": {"APPTAINER_NOHTTPS": "1"},
    }


def _small(folder: Path) -> Path:
    """One program under several names; `bash` is a script, for the program does not go by that name."""
    root, tar = folder / "root", folder / "root.tar"
    for name in ("bin", "etc", "tmp", "proc", "sys", "dev", "srv", "var/tmp"):
        (root / name).mkdir(parents=True)
    shutil.copy("/bin/busybox", root / "bin" / "busybox")
    for name in APPLETS:
        (root / "bin" / name).symlink_to("busybox")
    (root / "bin" / "bash").write_text('#!/bin/sh\nexec /bin/sh "$@"\n')
    (root / "bin" / "bash").chmod(0o755)
    (root / "etc" / "debian_version").write_text("12.small\n")
    subprocess.run(["tar", "-C", root, "--numeric-owner", "--owner=0", "--group=0", "-cf", tar, "."], check=True)
    return tar


def _bcrypt(password: str) -> str:
    """The only form of a password that the registry takes; made by the C library through Debian's perl."""
    salt = "".join(secrets.choice("abcdefghijklmnopqrstuvwxyz0123456789") for _ in range(21)) + "u"
    code = "print crypt(<STDIN>, $ARGV[0])"
    done = subprocess.run(
        ["perl", "-e", code, f"$2b$05${salt}"], input=password, capture_output=True, text=True, check=True
    )
    return done.stdout


def _podman(env: dict[str, str], *words: str) -> None:
    done = subprocess.run(
        ["podman", *words],
        env={"PATH": PATH, "HOME": "/root", **env},
        cwd="/",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=PUSH_WITHIN_S,
    )
    if done.returncode:
        raise ServiceFailed(f"podman {words[0]} gave {done.returncode}\n{done.stdout[-2000:]}")
