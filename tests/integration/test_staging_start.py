"""What `pilot transfer` loads before it copies: a start is most of what a few small files cost."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

#: None of these is needed to copy a local file, and each takes as long as a hundred small ones.
NOT_NEEDED = {"hashlib", "http.client", "logging", "requests", "rich", "sqlite3", "ssl", "subprocess", "urllib.parse"}


def test_a_local_file_is_copied_with_few_modules(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("content")
    entry = {"type": "transfer", "sources": [str(tmp_path / "file")], "targets": [str(tmp_path / "copy")]}
    (tmp_path / "list").write_text(json.dumps([entry]))
    words = [sys.executable, "-X", "importtime", "-m", "pilot", "transfer", str(tmp_path / "list")]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "pilot.staging.course" in loaded
    assert not loaded & NOT_NEEDED
    assert (tmp_path / "copy").read_text() == "content"
