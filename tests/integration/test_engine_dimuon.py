"""A real analysis of real events: 2304 muon pairs of `../shared/data/root/Zmumu.root`, read with uproot.

The file is not part of the project: where it is absent the test says so, and fails if CI is asked for everything.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import zlib
from pathlib import Path

import pytest

from tests.bench import shell_job
from tests.pilots import Site, assert_reported_once

DATA = Path("shared", "data", "root", "Zmumu.root")
PAYLOAD = Path(__file__).resolve().parents[1] / "data" / "dimuon_mass.py"


def events_file() -> Path:
    """Beside the checkout, or further up."""
    for folder in Path(__file__).resolve().parents:
        if (folder / DATA).is_file():
            return folder / DATA
    message = f"the events of this test are absent: ../{DATA}"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


def test_a_dimuon_analysis_finds_the_z_boson(site: Site) -> None:
    source = events_file()
    shutil.copy(source, site.inputs / "Zmumu.root")
    shutil.copy(PAYLOAD, site.inputs)
    job = shell_job(
        0,
        "",
        inputs={"Zmumu.root": site.inputs / "Zmumu.root", PAYLOAD.name: site.inputs / PAYLOAD.name},
        outputs=("mass.json",),
    )
    job |= {"transformation": sys.executable, "jobPars": f"{PAYLOAD.name} Zmumu.root mass.json"}
    adler32 = f"{zlib.adler32(source.read_bytes()):08x}"
    assert job["checksum"].startswith(f"ad:{adler32},"), "the checksum that is asked for is the true one"
    (number,) = site.submit(job)
    assert site.run("--jobs", "1", "--cleanup", "none", seconds=60) == 0, site.log()

    told = assert_reported_once(site, number, "finished")
    assert told["facts"]["n_events"] == 2304
    assert told["metadata"]["nEvents"] == 2304
    assert "nEvents=2304" in told["facts"]["job_metrics"].split()

    histogram = json.loads((site.outputs / "mass.json").read_text())
    low, high = histogram["peak_gev"]
    assert low >= 90 and high <= 92, f"the peak is at {low} to {high} GeV"
    assert 0.8 * 2304 < sum(histogram["counts"]) <= 2304

    staged = {file["lfn"]: file for file in site.job(number)["files"] if file["direction"] == "in"}
    assert staged["Zmumu.root"]["checksums"]["adler32"] == adler32
    assert staged["Zmumu.root"]["size"] == source.stat().st_size
    assert (site.directory(number) / "Zmumu.root").read_bytes() == source.read_bytes()
