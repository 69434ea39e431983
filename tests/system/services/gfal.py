"""The gfal2 Python bindings of Debian, for its own Python and for any other 3.11."""

import sys
from pathlib import Path

from tests.system.services import packages
from tests.system.services.ground import Endpoint, Ground, ServiceFailed

NEEDS = ()
PACKAGES = packages.GFAL

BINDINGS = Path("/usr/lib/python3/dist-packages/gfal2.cpython-311-x86_64-linux-gnu.so")


def install(ground: Ground) -> None:
    """Nothing beside the packages."""


def start(ground: Ground) -> Endpoint:
    """With `env` the Python that runs the tests imports gfal2: a folder that holds the bindings alone, so that nothing
    else of Debian's Python comes along. No process."""
    if sys.version_info[:2] != (3, 11):
        raise ServiceFailed(f"the gfal2 bindings are for Python 3.11, this is {sys.version_info[:2]}")
    folder = ground.make("gfal", "python")
    (folder / BINDINGS.name).symlink_to(BINDINGS)
    return {"env": {"PYTHONPATH": str(folder)}, "folder": str(folder), "bindings": str(BINDINGS)}
