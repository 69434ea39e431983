"""The first lines that `pilot.pyz` runs: it unpacks itself once into a directory of the user's own, then starts.

`bin/build` puts this file into the archive as `__main__.py`; it uses nothing but the standard library. Compiled
libraries cannot be loaded from inside an archive, so it is unpacked to the first of `PILOT_PYZ_ROOT`, the user's
cache directory and the temporary directory that can be written to and that nobody else can write to.

Started by another Python than the one it was built for, it looks for that one and starts again with it.
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
        _want_python(packed.read("PYTHON").decode().strip())
        build = packed.read("BUILD").decode().strip()
        home = _unpacked(packed, build)
    sys.path.insert(0, str(home))
    os.environ.pop("PYTHONPATH", None)
    runpy.run_module("pilot", run_name="__main__", alter_sys=True)


def _want_python(version: str) -> None:
    """Be run by this version of Python: by this process, or by the `pythonX.Y` that is found."""
    mine = "{}.{}".format(*sys.version_info)
    if mine == version:
        return
    other = shutil.which("python" + version)
    if other is None:
        sys.exit(f"pilot: this file needs Python {version} and was started by {mine}; there is no python{version} here")
    os.execv(other, [other, *sys.argv])


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
                if root.parent == Path(tempfile.gettempdir()):
                    _mend(packed, home)
                return home
        except OSError:
            continue
    sys.exit("pilot: no directory to unpack into; set PILOT_PYZ_ROOT to one that only you can write to")


def _mend(packed: zipfile.ZipFile, home: Path) -> None:
    """Bring back what is missing: files that nobody touched for days are swept out of temporary directories."""
    for item in packed.infolist():
        path = home / item.filename
        try:
            whole = path.stat().st_size == item.file_size
        except OSError:
            whole = False
        if not whole:
            fresh = tempfile.mkdtemp(prefix=".mend.", dir=home.parent)
            path.parent.mkdir(parents=True, exist_ok=True)
            os.replace(packed.extract(item, fresh), path)
            shutil.rmtree(fresh, ignore_errors=True)


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
