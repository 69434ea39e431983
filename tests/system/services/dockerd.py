"""A Docker daemon of its own: own socket, own images, no network; the test image is imported."""

import subprocess

from tests.system.services import packages, pki
from tests.system.services.ground import Endpoint, Ground
from tests.system.services.process import PATH, spawn, wait_until

NEEDS = ("rootfs",)
PACKAGES = packages.CONTAINERS

CLIENT = "/usr/bin/docker"
# Where the bounding set lacks CAP_SYS_RESOURCE no limit above the present one can be set.
OPEN_FILES = 20000


def install(ground: Ground) -> None:
    """Nothing beside the packages."""


def start(ground: Ground) -> Endpoint:
    """Clients need `env` only. Containers have no network but `none` and `host`."""
    folder = ground.folder("dockerd")
    image = ground.endpoint("rootfs")
    socket = folder / "docker.sock"
    (folder / "daemon.json").write_text("{}")
    server = spawn(
        folder,
        ["dockerd", "--config-file", folder / "daemon.json", "--host", f"unix://{socket}", "--pidfile", folder / "pid",
         "--data-root", folder / "data", "--exec-root", folder / "exec", "--bridge=none", "--iptables=false",
         "--ip6tables=false", f"--default-ulimit=nofile={OPEN_FILES}:{OPEN_FILES}"],
    )  # fmt: skip
    env = {"DOCKER_HOST": f"unix://{socket}"}
    wait_until(folder, lambda: _docker(env, "version").returncode == 0, "dockerd", server)
    pki.run(folder, f"env DOCKER_HOST={env['DOCKER_HOST']} {CLIENT} import", image["tar"], image["image"])
    return {"socket": str(socket), "env": env, "client": CLIENT, "image": image["image"], "pid": server.pid}


def stop(ground: Ground) -> None:
    """Containers left by a test are killed first: the daemon would give each ten seconds."""
    env = {"DOCKER_HOST": f"unix://{ground.folder('dockerd') / 'docker.sock'}"}
    if running := _docker(env, "ps", "--quiet").stdout.split():
        _docker(env, "kill", *running)


def _docker(env: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["timeout", "20", CLIENT, *words], env={"PATH": PATH, **env}, capture_output=True, text=True, check=False
    )
