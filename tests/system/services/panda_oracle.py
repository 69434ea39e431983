"""The `panda-server` package's own request handlers over a task buffer in memory: they judge what the pilot sends."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from tests.system.services import ports, venvs
from tests.system.services.ground import Endpoint, Ground, ServiceFailed
from tests.system.services.process import spawn, wait_until

NEEDS = ()
PACKAGES = ()

SERVER = ("panda-server==1.0.4", "panda-common==0.1.11")
_VENV = "panda-oracle"
_NOT_ROOTS_GROUP = 1


def install(ground: Ground) -> None:
    """An environment with the server in it, without what it declares to need: that is large and never imported."""
    venvs.make(ground, _VENV)
    python = venvs.python(ground, _VENV)
    home = python.parent.parent
    if (home / "etc/panda/panda_server.cfg.rpmnew").exists():
        return
    pip = [sys.executable, "-m", "pip", "--python", str(python)] if find_spec("pip") else [str(python), "-m", "pip"]
    # As group root the package wants an account of its own on the machine; as another group it takes what is there.
    done = subprocess.run(
        [*pip, "install", "-q", "--disable-pip-version-check", "--no-deps", *SERVER],
        group=_NOT_ROOTS_GROUP if os.getgid() == 0 else None,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **({"LOGNAME": "root"} if os.geteuid() == 0 else {}), "VIRTUAL_ENV": str(home)},
    )
    if done.returncode:
        raise ServiceFailed(f"panda-server could not be installed\n{done.stderr[-3000:]}")


def start(ground: Ground) -> Endpoint:
    """The endpoint's `url` takes the pilot's calls as its server would, behind TLS and with the production role."""
    install(ground)
    folder = ground.folder("panda_oracle")
    (port,) = ports.free()
    program = Path(__file__).with_name("panda_oracle_server.py")
    argv = [venvs.python(ground, _VENV), "-I", program, folder / "home", str(port)]
    server = spawn(folder, argv, name="oracle")
    wait_until(folder, lambda: ports.answers(port), "panda-server's handlers", server)
    return {"url": f"http://127.0.0.1:{port}"}
