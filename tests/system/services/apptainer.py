"""Apptainer, which the present Debian does not have: from its unstable successor, in a root of its own. Optional."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.system.services import packages
from tests.system.services.ground import Endpoint, Ground, ServiceFailed, read_json, write_json

NEEDS = ("rootfs",)
PACKAGES = packages.CONTAINERS

SUITE = "sid"
BROUGHT = ("apptainer", "squashfs-tools", "squashfuse", "fuse2fs", "fuse3", "uidmap", "ca-certificates")
WITHIN_S = 300
PROGRAM = Path(__file__).with_name("apptainer.sh")
# Mounted over with this machine's own.
OWN_FILES = ("passwd", "group", "hosts", "resolv.conf")


def install(ground: Ground) -> None:
    """The root file system with the program."""
    folder = ground.cache / "apptainer"
    stamp = folder / "made-of.json"
    if read_json(stamp) == [SUITE, *BROUGHT]:
        return
    root = folder / "root"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    _run(["debootstrap", "--variant=minbase", f"--include={','.join(BROUGHT)}", SUITE, str(root)])
    for name in OWN_FILES:
        (root / "etc" / name).touch()
    write_json(stamp, [SUITE, *BROUGHT])


def start(ground: Ground) -> Endpoint:
    """`program` is apptainer for root, who sees this machine's folders through it; `path` is the folder to put on PATH.
    `image` is the test image as a SIF file, `sandbox` the same as a folder. Memory limits do not work: they need
    systemd. No process."""
    root = ground.cache / "apptainer" / "root"
    program = ground.make("apptainer", "bin") / "apptainer"
    program.write_text(f'#!/bin/sh\nAPPTAINER_ROOT={root} exec sh {PROGRAM} "$@"\n')
    program.chmod(0o755)
    image, sandbox = ground.folder("apptainer") / "pilot-test.sif", ground.endpoint("rootfs")["folder"]
    quick = ["--mksquashfs-args", "-comp gzip -Xcompression-level 1"]
    _run([str(program), "--quiet", "build", "--force", *quick, str(image), sandbox])
    return {"program": str(program), "path": str(program.parent), "image": str(image), "sandbox": sandbox}


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=WITHIN_S
    )
    if done.returncode:
        raise ServiceFailed(f"{' '.join(command[:2])} gave {done.returncode}\n{done.stdout[-2000:]}")
