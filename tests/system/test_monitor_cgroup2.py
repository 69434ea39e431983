"""The cgroup tests once more, in a User-mode Linux guest where cgroup v2 has all its controllers.

The guest sees this machine's file system read-only, runs the same tests with the same interpreter and halts.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SUITE = "tests/integration/test_monitor_cgroup.py tests/integration/test_monitor_bounds.py"
INIT = """#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/run TMPDIR=/run PYTHONDONTWRITEBYTECODE=1 PYTHONPATH={paths}
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmpfs /run
mkdir /run/disk
mount /dev/ubda /run/disk
mount -t cgroup2 cgroup2 /sys/fs/cgroup
{enter}
cd {root}
{python} -m pytest {suite} -p no:cacheprovider --basetemp=/run/disk/pytest -rs --color=no 2>&1
echo "guest: pytest ended with $?"
{python} -c 'import ctypes; ctypes.CDLL(None).reboot(0x4321fedc)'
"""
#: Puts the shell, and with it the tests, into a group of its own: the way of a batch slot, where we are not the root.
IN_A_SLOT = """
echo "+memory +pids +cpu +io" > /sys/fs/cgroup/cgroup.subtree_control
mkdir /sys/fs/cgroup/slot
echo $$ > /sys/fs/cgroup/slot/cgroup.procs
"""


@pytest.fixture(scope="module")
def linux() -> str:
    found = shutil.which("linux.uml")
    if found is None:
        if os.environ.get("CI") == "true":
            pytest.fail("linux.uml is missing: package user-mode-linux")
        pytest.skip("needs the package user-mode-linux")
    return found


@pytest.mark.parametrize("enter", ["", IN_A_SLOT], ids=["root", "slot"])
def test_groups_of_cgroup_v2_do_what_those_of_v1_do(linux: str, tmp_path: Path, enter: str) -> None:
    init = tmp_path / "init"
    paths = ":".join(path for path in sys.path if path)
    init.write_text(INIT.format(root=ROOT, python=sys.executable, suite=SUITE, enter=enter, paths=paths))
    init.chmod(0o755)
    tmp_path.chmod(0o755)
    disk = tmp_path / "disk"
    with disk.open("wb") as file:
        file.truncate(64 << 20)
    subprocess.run(["/sbin/mkfs.ext4", "-q", "-F", str(disk)], check=True)
    kernel = [
        f"ubd0={disk}",
        "root=/dev/root",
        "rootfstype=hostfs",
        "rootflags=/",
        "ro",
        "mem=768M",
        f"init={init}",
        "quiet",
    ]
    done = subprocess.run(
        [linux, *kernel, "con=null", "con0=fd:0,fd:1"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=240,
        check=False,
    )
    assert "guest: pytest ended with 0" in done.stdout, done.stdout[-6000:]
    assert "a file system on a block device" not in done.stdout, done.stdout[-6000:]
    assert " passed" in done.stdout and "no cgroup can be made here" not in done.stdout, done.stdout[-6000:]
