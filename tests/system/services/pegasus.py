"""pegasus-transfer, the reference for the transfer file and the exit codes of `pilot transfer`."""

from tests.system.services import packages, venvs
from tests.system.services.ground import Endpoint, Ground

NEEDS = ()
PACKAGES = packages.PYTHON


def install(ground: Ground) -> None:
    """The program in an environment of its own."""
    venvs.make(ground, "pegasus")


def start(ground: Ground) -> Endpoint:
    """`transfer` is a command line to which the program's own options are added. No process."""
    python = venvs.python(ground, "pegasus")
    (program,) = python.parents[1].glob("lib/python3.*/site-packages/Pegasus/cli/pegasus-transfer.py")
    return {"transfer": [str(python), str(program)], "python": str(python)}
