"""A Debian 12 root file system with Python 3.11: the test image's content, a guest's disk, a bare node to run on."""

import subprocess

from tests.system.services import packages
from tests.system.services.ground import REPOSITORY, Endpoint, Ground, ServiceFailed

NEEDS = ()
PACKAGES = packages.CONTAINERS

IMAGE = "pilot-test:1"
WITHIN_S = 600
RECIPE = REPOSITORY / "containers" / "test-image" / "build.sh"


def install(ground: Ground) -> None:
    """Built by the image's own recipe, once, and again when the recipe changes."""
    folder = ground.cache / "rootfs"
    stamp, recipe = folder / "made-by", RECIPE.read_text()
    if stamp.exists() and stamp.read_text() == recipe:
        return
    done = subprocess.run(
        ["sh", str(RECIPE), str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=WITHIN_S,
    )
    if done.returncode:
        raise ServiceFailed(f"the root file system could not be built\n{done.stdout[-3000:]}")
    stamp.write_text(recipe)


def start(ground: Ground) -> Endpoint:
    """`folder` is shared by all tests and runs: read it, mount it read-only or under an overlay, never write to it."""
    made = ground.cache / "rootfs"
    return {"folder": str(made / "rootfs"), "tar": str(made / "rootfs.tar"), "image": IMAGE}
