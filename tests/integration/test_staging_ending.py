"""How `pilot transfer` ends: at once, but not before all it has to say is out."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from pilot.lib.program import own_command, own_environment


def _listed(folder: Path, count: int) -> str:
    (folder / "in").write_bytes(b"x")
    entries = [
        {"type": "transfer", "sources": [f"{folder}/in"], "targets": [f"{folder}/o/{number}"]}
        for number in range(count)
    ]
    (folder / "list.json").write_text(json.dumps(entries))
    return str(folder / "list.json")


def test_a_long_answer_is_whole_at_the_other_end_of_a_pipe(tmp_path: Path) -> None:
    words = own_command("transfer", "--json", _listed(tmp_path, 500))
    done = subprocess.run(words, env=own_environment(), capture_output=True, timeout=60, check=True)
    told = json.loads(done.stdout)
    assert len(told["files"]) == 500 and told["summary"]["done"] == 500
    assert len(os.listdir(tmp_path / "o")) == 500


def test_an_answer_that_nobody_got_is_no_success(tmp_path: Path) -> None:
    words = own_command("transfer", "--json", _listed(tmp_path, 1))
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            words, env=own_environment(), stdout=full, stderr=subprocess.PIPE, timeout=60, check=False
        )
    assert done.returncode != 0
    assert b"No space left on device" in done.stderr
    assert (tmp_path / "o" / "0").read_bytes() == b"x"


def test_without_any_output_stream_the_files_come_all_the_same(tmp_path: Path) -> None:
    words = ["/bin/sh", "-c", 'exec "$@" >&- 2>&-', "sh", *own_command("transfer", _listed(tmp_path, 1))]
    done = subprocess.run(words, env=own_environment(), timeout=60, check=False)
    assert done.returncode == 0
    assert (tmp_path / "o" / "0").read_bytes() == b"x"
