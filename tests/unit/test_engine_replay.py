"""`replay.sh` runs a payload again although its inputs have been cleaned up."""

from __future__ import annotations

import subprocess
from pathlib import Path

from pilot.core.job import JobDefinition
from pilot.engine.records import replay_script
from pilot.lib.files import file_url


def _replay(folder: Path, source: str) -> subprocess.CompletedProcess[str]:
    argv = ("/bin/sh", "-c", 'cat "in put.txt"; echo "$WORD"')
    script = folder / "replay.sh"
    script.write_text(replay_script(JobDefinition(7), argv, {"WORD": "it's"}, {f"{folder}/in put.txt": source}))
    return subprocess.run(["/bin/bash", script], capture_output=True, text=True, check=False)


def test_a_missing_input_is_fetched_again_from_this_machine(tmp_path: Path) -> None:
    kept = tmp_path / "kept ü"
    kept.write_text("data\n")
    job = tmp_path / "job"
    job.mkdir()
    done = _replay(job, file_url(str(kept)))
    assert (done.returncode, done.stdout) == (0, "data\nit's\n"), done.stderr


def test_an_input_from_elsewhere_is_asked_for(tmp_path: Path) -> None:
    done = _replay(tmp_path, "root://far/away.root")
    assert done.returncode == 2
    assert "root://far/away.root" in done.stderr
