"""Lists of transfers: of sources with one priority, the one that was faster before is tried first."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from pilot.lib.program import own_command, own_environment
from tests.copytools.webserver import serving

DATA = b"events\n" * 20_000


def taken(folder: Path, *sources: dict[str, Any], lfn: str, speeds: str) -> str:
    """Which source gives the file."""
    target = {"url": str(folder / "got" / lfn)}
    (folder / "list.json").write_text(
        json.dumps([{"type": "transfer", "lfn": lfn, "src_urls": sources, "dest_urls": [target]}])
    )
    done = subprocess.run(
        own_command("transfer", str(folder / "list.json"), "--json"),
        env=own_environment() | {"PILOT_SOURCE_SPEEDS": speeds},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return str(json.loads(done.stdout)["files"][0]["source"])


def test_the_faster_source_is_tried_first_unless_another_one_has_priority(tmp_path: Path) -> None:
    speeds = str(tmp_path / "speeds.json")
    with serving(tmp_path / "slow") as slow, serving(tmp_path / "quick") as quick:
        for web in (slow, quick):
            (web.root / "f").write_bytes(DATA)
        both = ({"url": f"{slow.url}/f"}, {"url": f"{quick.url}/f"})
        assert taken(tmp_path, *both, lfn="a", speeds="none") == f"{slow.url}/f"
        taken(tmp_path, {"url": f"{slow.url}/slow/f"}, lfn="b", speeds=speeds)
        taken(tmp_path, {"url": f"{quick.url}/f"}, lfn="c", speeds=speeds)
        assert taken(tmp_path, *both, lfn="d", speeds=speeds) == f"{quick.url}/f"
        first = ({"url": f"{slow.url}/f", "priority": 90}, {"url": f"{quick.url}/f", "priority": 80})
        assert taken(tmp_path, *first, lfn="e", speeds=speeds) == f"{slow.url}/f"
