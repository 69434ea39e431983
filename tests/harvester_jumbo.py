"""A jumbo job: its payload, its description, its event ranges."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

from tests.bench import shell_job
from tests.harvester_real import usual

#: Holds its first range until as many workers as said have one, copies what it is given and ends when nothing is left.
#: It writes a job-level file as well.
PAYLOAD = """
import os, pathlib, sys, time
from pilot.events import ranges
open("merged.txt", "w").write("of this worker alone")
place = pathlib.Path(sys.argv[1])
for r in ranges():
    (place / f"first-{os.getpid()}").touch()
    while len(list(place.glob("first-*"))) < int(sys.argv[2]):
        time.sleep(0.02)
    with open(f"{r.id}.txt", "w") as out:
        out.write(open(r.path).read() + f" {r.start_event}")
    r.done(f"{r.id}.txt")
"""


def jumbo_job(folder: Path, workers: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A job over a dataset of four files, of which ranges need three."""
    script = folder / "payload.py"
    script.write_text(PAYLOAD)
    line = shlex.join([sys.executable, str(script), str(folder), str(workers)])
    job = shell_job(9, f"exec {line}", outputs=("merged.txt",), eventService="True") | {
        "inFiles": "a.txt,b.txt,c.txt,d.txt", "scopeIn": "test,test,test,test", "taskID": 5, "jobsetID": 6,
        "prodDBlockTokenForOutput": "", "realDatasets": "ds.out,ds.log", "ddmEndPointOut": "OUT,LOG",
    }  # fmt: skip
    ranges = [
        {
            "eventRangeID": f"5-9-{file}-{n}-1", "startEvent": n, "lastEvent": n, "scope": "test",
            "LFN": "abc"[file] + ".txt", "GUID": f"G{file}",
        }
        for file in range(3)
        for n in range(1, 9)
    ]  # fmt: skip
    return usual(job), ranges
