"""Podman with images and state of its own, for root and, rootless, for the user `pilot`."""

import os
import pwd
import subprocess
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.system.services import packages
from tests.system.services.ground import Endpoint, Ground, ServiceFailed
from tests.system.services.process import MARK, PATH

NEEDS = ("rootfs",)
PACKAGES = packages.CONTAINERS

USER = "pilot"
IMPORT_WITHIN_S = 120


def install(ground: Ground) -> None:
    """The user, with the ranges of subordinate ids that rootless containers need."""
    with open("/etc/passwd") as users:
        if not any(line.startswith(f"{USER}:") for line in users):
            _run({}, "useradd", "--create-home", USER)
    for table in ("/etc/subuid", "/etc/subgid"):
        if not any(line.startswith(f"{USER}:") for line in Path(table).read_text().splitlines()):
            with open(table, "a") as ids:
                ids.write(f"{USER}:1000000:65536\n")


def start(ground: Ground) -> Endpoint:
    """`env` makes a plain `podman` use this installation; a rootless client runs as `rootless.user` with
    `rootless.env`, for which `rootless.prefix` is a command line that takes the words to run. `rootless.folder` is a
    folder of that user, where the prefix starts them: the checkout may be closed to others. Rootless containers have
    the networks `none` and `host` only and, with cgroup v1, no limits."""
    image = ground.endpoint("rootfs")
    env = _configured(ground.make("podman", "root"))
    person = pwd.getpwnam(USER)
    home = ground.make("podman", "user", owner=USER)
    runtime = ground.make("podman", "xdg", owner=USER, mode=0o700)
    work = ground.make("podman", "user", "work", owner=USER)
    own = {"PATH": PATH, "HOME": str(home), "USER": USER, "XDG_RUNTIME_DIR": str(runtime), **_configured(home)}
    prefix = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--init-groups", "env", "-i", f"--chdir={work}"]
    prefix += [f"{name}={value}" for name, value in own.items()]
    brought = ("podman", "import", "--quiet", image["tar"], f"localhost/{image['image']}")
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda before: _run(env, *before, *brought), ([], prefix)))
    return {
        "env": env,
        "image": f"localhost/{image['image']}",
        "rootless": {"user": USER, "uid": person.pw_uid, "env": own, "prefix": prefix, "folder": str(work)},
    }


def stop(ground: Ground) -> None:
    """Removes containers that tests left, with their mounts."""
    endpoint = ground.endpoint("podman")
    for words in (["podman"], [*endpoint["rootless"]["prefix"], "podman"]):
        subprocess.run(
            ["timeout", "30", *words, "rm", "--all", "--force", "--time", "0"],
            env={"PATH": PATH, **endpoint["env"]},
            cwd="/",
            capture_output=True,
            check=False,
        )


def _configured(folder: Path) -> dict[str, str]:
    """The engine's configuration, and the service's mark for what outlives a client."""
    (folder / "containers.conf").write_text(f"""
[containers]
default_ulimits = ["nofile=20000:20000", "nproc=32768:32768"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
lock_type = "file"
tmp_dir = "{folder}/tmp"
""")
    (folder / "storage.conf").write_text(f"""
[storage]
driver = "overlay"
runroot = "{folder}/run"
graphroot = "{folder}/graph"
rootless_storage_path = "{folder}/graph"
""")
    return {
        "CONTAINERS_CONF": str(folder / "containers.conf"),
        "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"),
        MARK: str(folder.parent),
    }


def _run(env: Mapping[str, str], *words: str) -> None:
    done = subprocess.run(
        words,
        env={"PATH": PATH, "HOME": os.path.expanduser("~"), **env},
        cwd="/",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=IMPORT_WITHIN_S,
    )
    if done.returncode:
        raise ServiceFailed(f"{' '.join(words)} gave {done.returncode}\n{done.stdout[-2000:]}")
