"""PostgreSQL as a user of its own on a loopback port: no password, no durability, an empty database to fill."""

import subprocess
from pathlib import Path

from tests.system.services import packages, ports
from tests.system.services.ground import Endpoint, Ground, ServiceFailed
from tests.system.services.process import PATH, spawn, wait_until

NEEDS = ()
PACKAGES = packages.POSTGRES

USER = "postgres"
_PROGRAMS = "/usr/lib/postgresql/*/bin"
# What a crash would cost is of no interest here.
_FAST = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "shared_buffers=32MB", "max_connections=50")


def install(ground: Ground) -> None:
    """Nothing beside the packages."""


def start(ground: Ground) -> Endpoint:
    """`port` on 127.0.0.1 takes `user` without a password; `programs` is where `psql` and its like are."""
    folder = ground.folder("postgres")
    data = ground.make("postgres", "data", owner=USER, mode=0o700)
    programs = sorted(Path("/").glob(_PROGRAMS.lstrip("/")))[-1]
    made = subprocess.run(
        ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--init-groups", programs / "initdb", "-D", data,
         "-A", "trust", "-U", USER, "-E", "UTF8", "--locale=C", "--no-sync"],
        env={"PATH": PATH}, cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if made.returncode:
        raise ServiceFailed(f"initdb failed\n{made.stderr[-2000:]}")
    (port,) = ports.free()
    settings = [word for setting in _FAST for word in ("-c", setting)]
    server = spawn(
        folder,
        [programs / "postgres", "-D", data, "-p", str(port), "-h", "127.0.0.1", "-k", "", *settings],
        name="postgres",
        user=USER,
    )
    client = [programs / "psql", "-h", "127.0.0.1", "-p", str(port), "-U", USER, "-qc", "SELECT 1"]
    wait_until(
        folder, lambda: subprocess.run(client, capture_output=True, check=False).returncode == 0, "postgres", server
    )
    return {"port": port, "user": USER, "programs": str(programs)}
