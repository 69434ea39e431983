"""The first lines of the one-file pilot: where it unpacks itself, whom it trusts, which Python it wants."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from pilot.cli import selfextract

MINE = "{}.{}".format(*sys.version_info)
PROGRAM = "import pilot.place, sys; print(pilot.place.__file__, *sys.argv[1:])"


class File:
    """A small program packed as `bin/build` packs the pilot."""

    def __init__(self, folder: Path, python: str = MINE) -> None:
        self.folder, self.path, self.tmp = folder, folder / "pilot.pyz", folder / "tmp"
        self.tmp.mkdir()
        with zipfile.ZipFile(self.path, "w") as packed:
            packed.write(selfextract.__file__, "__main__.py")
            packed.writestr("BUILD", "abc123\n")
            packed.writestr("PYTHON", python + "\n")
            packed.writestr("pilot/__init__.py", "")
            packed.writestr("pilot/place.py", "")
            packed.writestr("pilot/__main__.py", PROGRAM)

    def run(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        base = {"PATH": os.defpath, "TMPDIR": str(self.tmp)}
        return subprocess.run(
            [sys.executable, self.path, *words], env=base | environment, capture_output=True, text=True, timeout=30
        )

    def place(self, **environment: str) -> str:
        """The directory that it unpacked itself into."""
        done = self.run(**environment)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip().removesuffix("/abc123/pilot/place.py")


@pytest.fixture
def file(tmp_path: Path) -> File:
    return File(tmp_path)


def test_it_unpacks_to_the_first_place_that_can_be_written_to(file: File) -> None:
    home, named = file.folder / "home", file.folder / "named"
    (file.folder / "file").touch()
    own = f"{file.tmp}/pilot-pyz-{os.getuid()}"
    assert file.place(PILOT_PYZ_ROOT=str(named), HOME=str(home)) == str(named)
    assert file.place(HOME=str(home)) == f"{home}/.cache/pilot-pyz"
    assert file.place(HOME=str(home), XDG_CACHE_HOME=str(file.folder / "xdg")) == f"{file.folder}/xdg/pilot-pyz"
    assert file.place(PILOT_PYZ_ROOT=str(file.folder / "file" / "below")) == own
    assert file.place() == own
    assert os.stat(own).st_mode & 0o777 == 0o700


def test_a_directory_that_others_may_write_to_is_not_trusted(file: File) -> None:
    own = file.tmp / f"pilot-pyz-{os.getuid()}"
    (own / "abc123" / "pilot").mkdir(parents=True)
    (own / "abc123" / "pilot" / "__main__.py").write_text("print('a stranger')")
    own.chmod(0o777)
    done = file.run()
    assert "PILOT_PYZ_ROOT" in done.stderr and done.returncode == 1
    assert "stranger" not in done.stdout
    link = file.folder / "link"
    link.symlink_to(file.folder)
    assert file.run(PILOT_PYZ_ROOT=str(link)).returncode == 1


def test_a_second_start_uses_what_is_unpacked(file: File) -> None:
    place = Path(file.place(HOME=str(file.folder)))
    (place / "abc123" / "pilot" / "__main__.py").write_text("print('unpacked before')")
    assert file.run(HOME=str(file.folder)).stdout == "unpacked before\n"


def test_what_was_swept_out_of_a_temporary_directory_comes_back(file: File) -> None:
    place = Path(file.place())
    (place / "abc123" / "pilot" / "place.py").unlink()
    (place / "abc123" / "pilot" / "__main__.py").write_text("")
    assert file.place() == str(place)
    assert [path.name for path in place.iterdir()] == ["abc123"]


def test_another_python_hands_over_to_the_right_one_or_says_what_is_missing(tmp_path: Path) -> None:
    file = File(tmp_path, python="9.9")
    done = file.run("run")
    assert done.returncode == 1
    assert f"needs Python 9.9 and was started by {MINE}" in done.stderr
    other = tmp_path / "python9.9"
    other.write_text('#!/bin/sh\necho handed over: "$@"\n')
    other.chmod(0o755)
    assert file.run("run", "a b", PATH=f"{tmp_path}:{os.defpath}").stdout == f"handed over: {file.path} run a b\n"
