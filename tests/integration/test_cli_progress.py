"""What a person at a terminal sees while `pilot transfer` works."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path


def at_terminal(folder: Path, entries: list[dict[str, object]]) -> tuple[int, str]:
    """The exit code and all that was written to a terminal of 100 columns."""
    listed = folder / "list.json"
    listed.write_text(json.dumps(entries))
    ours, theirs = os.openpty()
    words = [sys.executable, "-m", "pilot", "transfer", str(listed)]
    environment = os.environ | {"COLUMNS": "100", "TERM": "xterm"}
    with subprocess.Popen(words, stdout=theirs, stderr=theirs, env=environment) as child:
        os.close(theirs)
        seen = b""
        try:
            while block := os.read(ours, 65536):
                seen += block
        except OSError:
            pass  # what a terminal says when the last writer has gone
    os.close(ours)
    return child.returncode, seen.decode()


def entries(folder: Path, *names: str) -> list[dict[str, object]]:
    return [
        {"type": "transfer", "sources": [str(folder / name)], "targets": [str(folder / f"{name}.copy")]}
        for name in names
    ]


def test_a_bar_counts_files_and_knows_the_size_of_local_ones(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).write_bytes(os.urandom(500_000))
    code, seen = at_terminal(tmp_path, entries(tmp_path, "a", "b", "c"))
    assert code == 0
    assert "3 of 3 files" in seen
    assert "1.5/1.5 MB" in seen
    assert "3 of 3 done, 0 failed" in seen.splitlines()[-1]


def test_a_file_that_fails_is_not_counted_as_done(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(os.urandom(500_000))
    code, seen = at_terminal(tmp_path, entries(tmp_path, "a", "missing"))
    assert code == 2
    assert "1 of 2 files" in seen
    assert "2 of 2 files" not in seen
