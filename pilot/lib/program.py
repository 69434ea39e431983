"""How this very program is started once more, from wherever it was started itself (checkout, venv, zipapp)."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pilot


def own_command(*args: str) -> list[str]:
    """The arguments that start `pilot ARGS`; to be run with `own_environment()`."""
    return [sys.executable, "-P", "-m", "pilot", *args]


def own_environment() -> dict[str, str]:
    """This process's environment, with the place of this very package first on Python's path."""
    root = str(Path(pilot.__file__).parent.parent)
    rest = os.environ.get("PYTHONPATH", "")
    return {**os.environ, "PYTHONPATH": f"{root}:{rest}" if rest else root}
