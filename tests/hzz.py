"""The physics payload of the event service tests: muon momenta of HZZ.root, histogrammed range by range.

`worker` is one worker of the payload; `merged` adds the histograms up; `reference` makes them in one go.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterable
from pathlib import Path

_PLACES = [folder / "shared/data/root/HZZ.root" for folder in Path(__file__).resolve().parents]
HZZ = next((place for place in _PLACES if place.exists()), _PLACES[0])
EVENTS = 2421

#: `python -c WORKER`: starts `workers` processes that each work through ranges; dies over none of them by itself.
PAYLOAD = r"""
import json, os, subprocess, sys
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
        with open(out, "w") as file:
            json.dump({"id": r.id, **histogram(r.path, r.start_event, r.last_event)}, file)
        r.done(out)

if __name__ == "__main__":
    if sys.argv[1] == "work":
        work()
    else:
        left = {}
        for n in range(int(sys.argv[1])):
            left[n] = subprocess.Popen([sys.executable, __file__, "work"])
        starts = 0
        while left:
            for n, child in list(left.items()):
                code = child.wait()
                if code == 0 or starts > 40:
                    del left[n]
                else:
                    starts += 1
                    left[n] = subprocess.Popen([sys.executable, __file__, "work"])
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
