"""A guest kernel with the whole of cgroup v2 (memory, pids, cpu, io): User-mode Linux, a program like any other."""

import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.system.services import packages
from tests.system.services.ground import REPOSITORY, Endpoint, Ground, ServiceFailed
from tests.system.services.process import end, ended, spawn, tail

NEEDS = ("rootfs",)
PACKAGES = packages.GUESTS

MEMORY_MB = 512
WITHIN_S = 120.0

# What the guest's first process does. It must not end: the kernel would panic. Output goes to a file, because the
# console also shows what the kernel says.
INIT = """
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp LANG=C.UTF-8
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs tmpfs /tmp
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /srv
mount -t devtmpfs dev /dev
mkdir /dev/shm /srv/repository
mount -t tmpfs tmpfs /dev/shm
mount -t hostfs none /srv/repository -o {repository}
mount -o remount,ro /srv/repository
mount -t cgroup2 none /sys/fs/cgroup
echo "+memory +pids +cpu +io" > /sys/fs/cgroup/cgroup.subtree_control
cd /mnt
/bin/sh /mnt/script > /mnt/output 2>&1 < /dev/null
echo $? > /mnt/status
python3 -c 'import ctypes; ctypes.CDLL(None).reboot(0x4321fedc)'
while :; do sleep 60; done
"""


def install(ground: Ground) -> None:
    """Nothing beside the packages and the root file system."""


def start(ground: Ground) -> Endpoint:
    """No process until a guest is `run`."""
    return {
        "kernel": "/usr/bin/linux.uml",
        "rootfs": ground.endpoint("rootfs")["folder"],
        "folder": str(ground.make("uml", "guests")),
    }


def run(
    uml: Mapping[str, Any], script: str, *, memory_mb: int = MEMORY_MB, within_s: float = WITHIN_S
) -> subprocess.CompletedProcess[str]:
    """Boots a guest, runs the shell script in it as root, and gives its exit status and output (both streams).

    The guest sees the test image's root file system read-only, this repository at /srv/repository read-only, and
    /mnt, its working folder, where what it writes is lost afterwards. /sys/fs/cgroup is cgroup v2 with the controllers
    memory, pids, cpu and io on for its children. It has one CPU and no network. ServiceFailed if it does not end."""
    guest = Path(tempfile.mkdtemp(dir=uml["folder"]))
    (guest / "script").write_text(script)
    (guest / "init").write_text(INIT.format(repository=REPOSITORY))
    kernel = spawn(
        guest,
        [uml["kernel"], f"mem={memory_mb}M", "root=/dev/root", "rootfstype=hostfs", f"rootflags={uml['rootfs']}", "ro",
         f"uml_dir={guest}", "con=null", "con0=null,fd:1", "quiet", "init=/bin/sh", "--", "-c",
         f'"mount -t hostfs none /mnt -o {guest} && exec /bin/sh /mnt/init"'],
        name="console",
    )  # fmt: skip
    try:
        if not ended(kernel, within_s):
            raise ServiceFailed(f"the guest did not end within {within_s:.0f} s\n{tail(guest)}")
        status, output = guest / "status", guest / "output"
        if not status.exists():
            raise ServiceFailed(f"the guest ended without a status\n{tail(guest)}")
        return subprocess.CompletedProcess([script], int(status.read_text()), output.read_text(errors="replace"))
    finally:
        end(guest, grace_s=0)
