"""The first lines that `pilot.pyz` runs: it unpacks itself once into a directory of the user's own, then starts.

`bin/build` puts this file into the archive as `__main__.py`; it uses nothing but the standard library. Compiled
libraries cannot be loaded from inside an archive, so it is unpacked to the first of `PILOT_PYZ_ROOT`, the user's
cache directory and the temporary directory that can be written to and that nobody else can write to.
"""

from __future__ import annotations

import os
import runpy
import shutil
import stat
import sys
import tempfile
import zipfile
from pathlib import Path


def main() -> None:
    """Unpack if need be, then be `pilot`."""
    archive = Path(sys.argv[0]).resolve()
    with zipfile.ZipFile(archive) as packed:
        build = packed.read("BUILD").decode().strip()
        home = _unpacked(packed, build)
    sys.path.insert(0, str(home))
    os.environ.pop("PYTHONPATH", None)
    runpy.run_module("pilot", run_name="__main__", alter_sys=True)


def _unpacked(packed: zipfile.ZipFile, build: str) -> Path:
    for root in _roots():
        try:
            root.mkdir(parents=True, exist_ok=True, mode=0o700)
            if not _is_ours_alone(root):
                continue
            home = root / build
            if not home.is_dir():
                fresh = Path(tempfile.mkdtemp(prefix=f".{build}.", dir=root))
                packed.extractall(fresh)
                try:
                    fresh.rename(home)
                except OSError:
                    shutil.rmtree(fresh, ignore_errors=True)  # another pilot was faster
            if home.is_dir():
                return home
        except OSError:
            continue
    sys.exit("pilot: no directory to unpack into; set PILOT_PYZ_ROOT to one that only you can write to")


def _roots() -> list[Path]:
    named = os.environ.get("PILOT_PYZ_ROOT", "")
    cache = os.environ.get("XDG_CACHE_HOME", "") or (os.environ.get("HOME", "") and os.environ["HOME"] + "/.cache")
    roots = [Path(named)] if named else []
    roots += [Path(cache) / "pilot-pyz"] if cache else []
    return [*roots, Path(tempfile.gettempdir()) / f"pilot-pyz-{os.getuid()}"]


def _is_ours_alone(root: Path) -> bool:
    facts = os.lstat(root)
    return (
        stat.S_ISDIR(facts.st_mode)
        and facts.st_uid == os.getuid()
        and not facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    )


if __name__ == "__main__":
    main()
