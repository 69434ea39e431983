"""The one file that `bin/build` makes, built when it is missing or older than what goes into it."""

import fcntl
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PYZ = ROOT / "dist" / "pilot.pyz"


def built() -> Path:
    """The file of this checkout; several sessions at once build it once."""
    PYZ.parent.mkdir(exist_ok=True)
    with (PYZ.parent / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        parts = [ROOT / "bin" / "build", ROOT / "pyproject.toml", *(ROOT / "pilot").rglob("*.py")]
        if not PYZ.exists() or PYZ.stat().st_mtime < max(part.stat().st_mtime for part in parts):
            done = subprocess.run([ROOT / "bin" / "build"], capture_output=True, text=True, timeout=300, check=False)
            assert done.returncode == 0 and PYZ.exists(), done.stdout + done.stderr
    return PYZ
