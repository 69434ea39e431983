"""A payload: reads di-muon events, fills the invariant mass, writes a histogram and a job report.

usage: dimuon.py EVENTS.csv HISTOGRAM.json
Each line of the events holds the energy and momentum (GeV) of two muons: E1,px1,py1,pz1,E2,px2,py2,pz2.
"""

import csv
import json
import math
import sys

LOW, HIGH, BINS = 60.0, 120.0, 60


def mass(event: list[float]) -> float:
    """The invariant mass of the pair in GeV."""
    energy, px, py, pz = (event[n] + event[n + 4] for n in range(4))
    return math.sqrt(max(0.0, energy * energy - px * px - py * py - pz * pz))


def main(events_file: str, histogram_file: str) -> None:
    """Read, fill, write."""
    counts = [0] * BINS
    events = 0
    with open(events_file, newline="") as file:
        for row in csv.reader(file):
            events += 1
            place = int((mass([float(value) for value in row]) - LOW) / (HIGH - LOW) * BINS)
            if 0 <= place < BINS:
                counts[place] += 1
    peak = LOW + (counts.index(max(counts)) + 0.5) * (HIGH - LOW) / BINS
    with open(histogram_file, "w") as file:
        json.dump({"low": LOW, "high": HIGH, "counts": counts, "peak": peak}, file)
    with open("jobReport.json", "w") as file:
        json.dump({"nEvents": events, "exitCode": 0, "peak": peak}, file)
    print(f"{events} events, peak at {peak} GeV")
    top = max(counts)
    for n in range(0, BINS, 2):
        low = LOW + n * (HIGH - LOW) / BINS
        print(f"{low:6.1f} GeV {'#' * round(50 * max(counts[n : n + 2]) / top)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
