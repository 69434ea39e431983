"""A small analysis: the mass of muon pairs in a ROOT file, as a histogram in JSON and a jobReport.json.

usage: dimuon_mass.py INPUT.root HISTOGRAM.json
"""

import json
import sys

import numpy as np
import uproot


def main(source: str, target: str) -> None:
    with uproot.open(source) as file:
        tree = file["events"]
        muons = tree.arrays(["E1", "px1", "py1", "pz1", "E2", "px2", "py2", "pz2"], library="np")
        events = tree.num_entries
    energy = muons["E1"] + muons["E2"]
    momentum2 = sum((muons[f"p{axis}1"] + muons[f"p{axis}2"]) ** 2 for axis in "xyz")
    mass = np.sqrt(np.maximum(energy**2 - momentum2, 0.0))
    counts, edges = np.histogram(mass, bins=60, range=(60.0, 120.0))
    at = int(np.argmax(counts))
    histogram = {"edges_gev": edges.tolist(), "counts": counts.tolist(), "peak_gev": [edges[at], edges[at + 1]]}
    with open(target, "w", encoding="utf-8") as out:
        json.dump(histogram, out)
    report = {"nEvents": events, "files": {"input": [{"subFiles": [{"name": source, "nentries": events}]}]}}
    with open("jobReport.json", "w", encoding="utf-8") as out:
        json.dump(report, out)
    print(f"{events} events, peak in {histogram['peak_gev']} GeV")


main(sys.argv[1], sys.argv[2])
