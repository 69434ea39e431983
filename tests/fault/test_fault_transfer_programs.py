"""What moves files for a pilot that dies by kill -9 is ended before the next pilot writes to the same place."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pilot.lib.orphans import TRANSFERS, end_transfers
from tests.bench import patience, shell_job
from tests.pilots import Site, assert_reported_once

#: The first one never ends and writes on and on; later ones do as they are told.
XRDCP = """#!/bin/sh
case "$*" in *--version*) echo v5.7.0 >&2; exit 0;; esac
for target; do :; done
if [ ! -e "$NOTES/first" ]; then
  exec 3> "$target"
  printf 'junk\\n' >&3
  echo $$ > "$NOTES/first"
  while sleep 0.05; do printf 'junk\\n' >&3; done
fi
printf 'some input\\n' > "$target"
"""


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_a_transfer_that_outlived_its_pilot_does_not_write_into_the_next_one_s_file(site: Site, tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "xrdcp").write_text(XRDCP)
    (programs / "xrdcp").chmod(0o755)
    found = {"PATH": f"{programs}:{os.environ['PATH']}", "NOTES": str(tmp_path)}
    job = shell_job(0, "sleep 0.3; cat in.txt > out.txt", outputs=("out.txt",))
    job |= {"inFiles": "in.txt", "scopeIn": "test", "inFilePaths": "root://127.0.0.1:1//data/in.txt"}
    (number,) = site.submit(job)
    pilot = site.start("--jobs", "1", **found)
    site.wait_for(lambda: (tmp_path / "first").exists() and (tmp_path / "first").read_text().strip())
    pilot.kill()
    pilot.wait()
    first = int((tmp_path / "first").read_text())
    assert alive(first), "the program goes on without its pilot"
    assert site.start("--jobs", "1", **found).wait(40) == 0, site.log()
    assert not alive(first)
    assert_reported_once(site, number, "finished")
    assert (site.outputs / "out.txt").read_text() == "some input\n"


@pytest.fixture
def sleepers() -> Iterator[list[subprocess.Popen[bytes]]]:
    made: list[subprocess.Popen[bytes]] = []
    yield made
    for process in made:
        process.kill()
        process.wait()


def test_transfers_of_other_pilots_and_younger_ones_are_left_alone(sleepers: list[subprocess.Popen[bytes]]) -> None:
    for mark in ("mine", "another", "mine2"):
        sleepers.append(subprocess.Popen(["sleep", "300"], env={**os.environ, TRANSFERS: mark}))
    assert patience(lambda: all(b"sleep" in Path(f"/proc/{p.pid}/cmdline").read_bytes() for p in sleepers))
    assert end_transfers("mine", 1.0) == [], "it is younger than this process: its own"
    older = f"from pilot.lib.orphans import end_transfers; print(end_transfers('mine', 1.0) == [{sleepers[0].pid}])"
    told = subprocess.run([sys.executable, "-c", older], capture_output=True, text=True, timeout=30, check=True)
    assert told.stdout.strip() == "True"
    assert sleepers[0].wait(10) == -15
    assert [process.poll() for process in sleepers[1:]] == [None, None]
    assert end_transfers("", 1.0) == []
