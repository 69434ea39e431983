"""Python environments of the servers and oracles, apart from the project's own, each made once."""

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from tests.system.services.ground import Ground, ServiceFailed

TRIES = 3
REQUIREMENTS = Path(__file__).with_name("requirements")


def python(ground: Ground, name: str) -> Path:
    """The interpreter of an environment that `make` has made."""
    return ground.cache / "venvs" / name / "bin" / "python"


def possible(name: str) -> bool:
    """Whether a service consists of an environment which this Python can make before any Debian package is there."""
    return (REQUIREMENTS / f"{name}.txt").exists() and bool(find_spec("pip") or find_spec("ensurepip"))


def make(ground: Ground, name: str) -> None:
    """The environment with exactly what `requirements/NAME.txt` lists; a half-made or outdated one is made anew."""
    folder, listed = ground.cache / "venvs" / name, REQUIREMENTS / f"{name}.txt"
    stamp, wanted = folder / "made-of", f"{sys.version}\n{listed.read_text()}"
    if stamp.exists() and stamp.read_text() == wanted:
        return
    shutil.rmtree(folder, ignore_errors=True)
    inside = str(python(ground, name))
    if find_spec("pip"):  # ours can fill the new environment, which then needs none
        _run([sys.executable, "-m", "venv", "--without-pip", str(folder)], tries=1)
        pip = [sys.executable, "-m", "pip", "--python", inside]
    else:
        _run([sys.executable, "-m", "venv", str(folder)], tries=1)
        pip = [inside, "-m", "pip"]
    # Most modules are never imported: compiling those that are, at the first start, is the lesser work.
    options = ["-q", "--disable-pip-version-check", "--no-compile", "--no-deps"]
    _run([*pip, "install", *options, "-r", str(listed)], tries=TRIES)
    stamp.write_text(wanted)


def _run(command: list[str], *, tries: int) -> None:
    env = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")}
    for _ in range(tries):
        done = subprocess.run(
            command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        if done.returncode == 0:
            return
    raise ServiceFailed(f"{' '.join(command[:4])} failed\n{done.stdout[-3000:]}")
