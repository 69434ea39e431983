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

_VENV, _SERVER = "panda-oracle", "panda-server==1.0.4"
_COMMON = "panda-common==0.1.11"
_NOT_ROOTS_GROUP = 1


def install(ground: Ground) -> None:
    """An environment with the server in it."""
    install_server(ground, _VENV, _SERVER)


def install_server(ground: Ground, venv: str, server: str) -> None:
    """The server without what it declares to need: that is large and never imported."""
    venvs.make(ground, venv)
    python = venvs.python(ground, venv)
    home = python.parent.parent
    if (home / "etc/panda/panda_server.cfg.rpmnew").exists():
        return
    pip = [sys.executable, "-m", "pip", "--python", str(python)] if find_spec("pip") else [str(python), "-m", "pip"]
    # As group root the package wants an account of its own on the machine; as another group it takes what is there.
    done = subprocess.run(
        [*pip, "install", "-q", "--disable-pip-version-check", "--no-deps", server, _COMMON],
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
    return start_server(ground, "panda_oracle", _VENV)


def start_server(ground: Ground, name: str, venv: str) -> Endpoint:
    """The server of that environment in the folder of that service."""
    folder = ground.folder(name)
    (port,) = ports.free()
    program = Path(__file__).with_name("panda_oracle_server.py")
    server = spawn(folder, [venvs.python(ground, venv), "-I", program, folder / "home", str(port)], name="oracle")
    wait_until(folder, lambda: ports.answers(port), "panda-server's handlers", server)
    return {"url": f"http://127.0.0.1:{port}"}
