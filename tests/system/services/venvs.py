"""Python environments of the servers and oracles, apart from the project's own, each made once."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.system.services.ground import Ground, ServiceFailed

TRIES = 3


def prepared(ground: Ground, name: str, *requirements: str) -> Path:
    """The interpreter of the environment `name` with exactly these requirements; a half-made one is made anew."""
    folder = ground.cache / "venvs" / name
    stamp, wanted = folder / "made-of", "\n".join((sys.version, *requirements))
    python = folder / "bin" / "python"
    if stamp.exists() and stamp.read_text() == wanted:
        return python
    shutil.rmtree(folder, ignore_errors=True)
    _run([sys.executable, "-m", "venv", str(folder)], tries=1)
    _run([str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", *requirements], tries=TRIES)
    stamp.write_text(wanted)
    return python


def _run(command: list[str], *, tries: int) -> None:
    env = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")}
    for _ in range(tries):
        done = subprocess.run(
            command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        if done.returncode == 0:
            return
    raise ServiceFailed(f"{' '.join(command[:4])} failed\n{done.stdout[-3000:]}")
