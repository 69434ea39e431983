"""The Debian packages behind the services, all brought by one call of apt, none of them started by it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from tests.system.services.ground import ServiceFailed

XROOTD = ("xrootd-server", "xrootd-client", "xrootd-server-plugins", "xrootd-scitokens-plugins")
GFAL = (
    "davix",
    "python3-gfal2",
    "gfal2-util-scripts",
    "gfal2-plugin-file",
    "gfal2-plugin-http",
    "gfal2-plugin-xrootd",
    "gfal2-plugin-gridftp",
)
GRIDFTP = ("globus-gridftp-server-progs", "globus-gass-copy-progs")
PKI = ("openssl", "ca-certificates", "voms-clients")
NGINX = ("nginx-light", "libnginx-mod-http-dav-ext")
SWIFT = ("swift", "swift-proxy", "swift-account", "swift-container", "swift-object", "memcached")
SLURM = ("slurmctld", "slurmd", "slurm-client", "munge")
CONTAINERS = (
    *("podman", "uidmap", "fuse-overlayfs", "slirp4netns", "runc", "iptables", "catatonit", "docker.io"),
    *("bubblewrap", "squashfs-tools", "squashfuse", "busybox-static", "debootstrap"),
)
IMAGES = ("docker-registry",)
DISKS = ("xfsprogs", "btrfs-progs")
GUESTS = ("user-mode-linux",)
BROWSER = ("chromium",)
POSTGRES = ("postgresql",)
# What a bare Debian Python lacks to make an environment; other builds of Python have it.
PYTHON = () if find_spec("pip") or find_spec("ensurepip") else ("python3-venv",)

ALL = (
    *XROOTD,
    *GFAL,
    *GRIDFTP,
    *PKI,
    *NGINX,
    *SWIFT,
    *SLURM,
    *CONTAINERS,
    *IMAGES,
    *DISKS,
    *GUESTS,
    *BROWSER,
    *POSTGRES,
    *PYTHON,
)

APT_WAITS_S = 600
TRIES = 3
FAST = ("-o", "Acquire::Retries=3", "-o", "Acquire::Languages=none", "-o", "Dpkg::Options::=--force-unsafe-io")
POLICY = Path("/usr/sbin/policy-rc.d")


def missing(packages: tuple[str, ...] = ALL) -> list[str]:
    """Those that dpkg does not know as installed."""
    asked = subprocess.run(
        ["dpkg-query", "-W", "-f=${db:Status-Status} ${Package}\n", *packages],
        capture_output=True,
        text=True,
        check=False,
    )
    there = {line.split()[1] for line in asked.stdout.splitlines() if line.startswith("installed ")}
    return [package for package in packages if package not in there]


def install(packages: tuple[str, ...] = ALL) -> None:
    """Brings what is missing in one call; does not touch apt when nothing is. ServiceFailed with apt's last words."""
    if not (wanted := missing(packages)):
        return
    if os.geteuid() != 0:
        raise ServiceFailed(f"only root can install {' '.join(wanted)}")
    with _nothing_is_started():
        _apt("update")
        _apt("install", "-y", "--no-install-recommends", *wanted)
    if left := missing(packages):
        raise ServiceFailed(f"apt did not bring {' '.join(left)}")


def _apt(*words: str) -> None:
    """Other users of apt on this machine are waited for; a network that fails is tried again."""
    command = ["apt-get", "-q", "-o", f"DPkg::Lock::Timeout={APT_WAITS_S}", *FAST, *words]
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for attempt in range(1, TRIES + 1):
        done = subprocess.run(
            command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        if done.returncode == 0:
            return
        print(f"apt-get {words[0]}: attempt {attempt} failed", file=sys.stderr)
        if "unmet dependencies" in done.stdout or "dpkg was interrupted" in done.stdout:
            subprocess.run(["dpkg", "--configure", "-a"], env=env, capture_output=True, check=False)
    raise ServiceFailed(f"apt-get {words[0]} failed\n{done.stdout[-3000:]}")


@contextmanager
def _nothing_is_started() -> Iterator[None]:
    """Debian asks this file before it starts a daemon; where the machine has none, ours says no for a while."""
    if POLICY.exists():
        yield
        return
    POLICY.write_text("#!/bin/sh\nexit 101\n")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink(missing_ok=True)
