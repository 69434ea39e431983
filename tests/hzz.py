"""The physics payload of the event service tests: muon momenta of HZZ.root, histogrammed range by range.

`pieces` reads the histograms of ranges, `merged` adds them up, `reference` makes one of all events in one go.
"""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Iterable
from pathlib import Path

import pytest

_PLACES = [folder / "shared/data/root/HZZ.root" for folder in Path(__file__).resolve().parents]
HZZ = next((place for place in _PLACES if place.exists()), _PLACES[0])
EVENTS = 2421
#: Without the data a test says so; where everything has to be there (CI) it runs, and fails.
needs_data = pytest.mark.skipif(
    not HZZ.exists() and not os.environ.get("CI"), reason="the shared test data are not here"
)

#: `payload.py 4 0.1`: four processes that work through ranges, each as long as said; one that dies is started again.
PAYLOAD = r"""
import json, os, subprocess, sys, time
BINS, WIDTH = 60, 5.0

def histogram(path, first, last):
    import numpy, uproot
    with uproot.open(path) as file:
        arrays = file["events"].arrays(["Muon_Px", "Muon_Py"], entry_start=first - 1, entry_stop=last, library="np")
    counts = [0] * BINS
    events = 0
    for px, py in zip(arrays["Muon_Px"], arrays["Muon_Py"]):
        events += 1
        for pt in numpy.sqrt(px**2 + py**2):
            counts[min(int(pt / WIDTH), BINS - 1)] += 1
    return {"events": events, "counts": counts}

def work():
    from pilot.events import ranges
    for r in ranges():
        out = f"hist.{r.id}.json"
        piece = {"id": r.id, **histogram(r.path, r.start_event, r.last_event)}
        time.sleep(float(sys.argv[2]))
        with open(out, "w") as file:
            json.dump(piece, file)
        r.done(out)

if __name__ == "__main__":
    if sys.argv[1] == "work":
        work()
    else:
        command = [sys.executable, __file__, "work", *sys.argv[2:], "0"]
        left = [subprocess.Popen(command) for n in range(int(sys.argv[1]))]
        for again in range(60):
            if not left:
                break
            pid, status = os.wait()
            left = [child for child in left if child.pid != pid]
            if status:
                left.append(subprocess.Popen(command))
"""


def reference() -> list[int]:
    """The histogram of all events, made in one go."""
    scope: dict = {"__name__": "payload"}
    exec(PAYLOAD, scope)
    whole = scope["histogram"](str(HZZ), 1, EVENTS)
    assert whole["events"] == EVENTS
    return whole["counts"]


def pieces(archives: Iterable[Path]) -> dict[str, dict]:
    """The histograms in the archives, by range; one that is there twice is an error."""
    found: dict[str, dict] = {}
    for path in archives:
        with tarfile.open(path) as archive:
            for member in archive:
                piece = json.load(archive.extractfile(member))
                assert piece["id"] not in found, f"{piece['id']} is stored twice"
                found[piece["id"]] = piece
    return found


def merged(parts: Iterable[dict]) -> tuple[int, list[int]]:
    """The number of events and the sum of the histograms."""
    counts = [0] * 60
    events = 0
    for part in parts:
        events += part["events"]
        counts = [a + b for a, b in zip(counts, part["counts"], strict=True)]
    return events, counts
