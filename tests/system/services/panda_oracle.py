"""The `panda-server` package's own request handlers over a task buffer in memory: they judge what the pilot sends."""

import os
import subprocess
from pathlib import Path

from tests.system.services import ports
from tests.system.services.ground import Endpoint, Ground, ServiceFailed
from tests.system.services.process import spawn, wait_until
from tests.system.services.venvs import prepared

NEEDS = ()
PACKAGES = ()

SERVER = ("panda-server==1.0.4", "panda-common==0.1.10")
#: What the handlers of the pilot's calls import. The server's other dependencies are large and stay away.
USED = ("werkzeug", "requests", "pyjwt", "stomp.py", "pyyaml", "psutil", "packaging", "pytz", "cryptography")
_NOT_ROOTS_GROUP = 1


def install(ground: Ground) -> None:
    """An environment with the server in it, without what it declares to need."""
    python = prepared(ground, "panda-oracle", *USED)
    if (python.parent.parent / "etc/panda/panda_server.cfg.rpmnew").exists():
        return
    # As group root the package wants an account of its own on the machine; as another group it takes what is there.
    done = subprocess.run(
        [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps", *SERVER],
        group=_NOT_ROOTS_GROUP if os.getgid() == 0 else None,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "LOGNAME": "root", "VIRTUAL_ENV": str(python.parent.parent)},
    )
    if done.returncode:
        raise ServiceFailed(f"panda-server could not be installed\n{done.stderr[-3000:]}")


def start(ground: Ground) -> Endpoint:
    """The endpoint's `url` takes the pilot's calls as its server would, behind TLS and with the production role."""
    install(ground)
    folder = ground.folder("panda_oracle")
    python = prepared(ground, "panda-oracle", *USED)
    (port,) = ports.free()
    program = Path(__file__).with_name("panda_oracle_server.py")
    server = spawn(folder, [python, "-I", program, folder / "home", str(port)], name="oracle")
    wait_until(folder, lambda: ports.answers(port), "panda-server's handlers", server)
    return {"url": f"http://127.0.0.1:{port}"}
