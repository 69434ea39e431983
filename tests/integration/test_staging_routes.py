"""Files of whole jobs, and of lists, that go through a staging site or pass it by."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from pilot.lib.program import own_command, own_environment
from tests.farm import DATA, Farm

MAP = "Q=STAGE,osg=OTHER,*=DISK"
CLASSES = {
    "outFiles": "p1,p0,i1,i0,plain",
    "scopeOut": "s,s,s,s,s",
    "ddmEndPointOut": "DISK,DISK,DISK,DISK,DISK",
    "pureOutput": "p1,p0",
    "intermediateOutput": "i1,i0",
    "noTransferOutput": "p0,i0",
}


def where(farm: Farm, *names: str) -> dict[str, str]:
    """On which storages each file is."""
    return {n: " ".join(s for s in ("DISK", "STAGE", "OTHER") if farm.place(n, s).exists()) for n in names}


@pytest.mark.parametrize("told_by", ["option", "queue"])
def test_outputs_go_where_their_class_sends_them(told_by: str, tmp_path: Path) -> None:
    queue = {"catchall": f'one=1,staging_site="{MAP}"'} if told_by == "queue" else {}
    farm = Farm(tmp_path, "STAGE", "OTHER", **queue)
    farm.store("in")
    options = ["--staging-site", MAP] if told_by == "option" else []
    # one file is large enough to be fed to both places from one read
    script = "-c 'for n in p1 p0 i0 plain; do cp in $n; done; head -c 9000000 /dev/zero > i1'"
    farm.run(script, "in", options=options, **CLASSES)
    assert farm.outcome == "finished", farm.log
    assert where(farm, "p1", "p0", "i1", "i0", "plain") == {
        "p1": "DISK", "p0": "STAGE", "i1": "DISK STAGE", "i0": "STAGE", "plain": "DISK",
    }  # fmt: skip
    assert farm.place("i1").read_bytes() == farm.place("i1", "STAGE").read_bytes() == bytes(9_000_000)
    assert farm.outputs()["i1"] == ("transferred", f"file://{farm.place('i1')}"), "the final place is the one reported"


def test_an_output_that_one_of_its_two_places_does_not_take_fails_the_job(tmp_path: Path) -> None:
    astorages = {"read_lan": ["DISK"], "write_lan": ["DISK", "OTHER"]}
    farm = Farm(tmp_path, "STAGE", "OTHER", astorages=astorages, params={"allow_altstageout": True})
    (tmp_path / "stage").write_text("no directory")
    farm.store("in")
    farm.run("-c 'cp in i1'", "in", options=["--staging-site", MAP], **CLASSES | {
        "outFiles": "i1", "scopeOut": "s", "ddmEndPointOut": "DISK",
        "pureOutput": "", "intermediateOutput": "i1", "noTransferOutput": "",
    })  # fmt: skip
    assert farm.outcome == "failed", "the second choice of a queue is no staging site"
    assert farm.place("i1").exists(), "what could be sent was sent"


@pytest.mark.parametrize(
    ("on", "bypass", "options", "source"),
    [
        (("DISK", "STAGE"), "", [], "STAGE"),
        (("DISK", "STAGE"), "in", [], "DISK"),
        (("DISK", "STAGE"), "*", [], "DISK"),
        (("DISK", "STAGE"), "", ["--bypass-staging", "true"], "DISK"),
        (("DISK",), "", [], "DISK"),
        (("STAGE",), "*", [], "STAGE"),
    ],
)
def test_inputs_come_through_the_staging_site_unless_they_pass_it_by(
    on: tuple[str, ...], bypass: str, options: list[str], source: str, tmp_path: Path
) -> None:
    farm = Farm(tmp_path, "STAGE", "OTHER")
    for storage in on:
        farm.store("in", storage=storage)
    farm.run("-c 'cp in o.txt'", "in", options=["--staging-site", MAP, *options], bypassStaging=bypass)
    assert farm.outcome == "finished", farm.log
    assert farm.attempts and [place for name, _, place, code in farm.attempts if name == "in" and not code] == [
        f"file://{farm.place('in', source)}"
    ]


def test_a_class_for_what_is_no_output_is_refused(tmp_path: Path) -> None:
    farm = Farm(tmp_path)
    farm.run("-c true", "in", pureOutput="other")
    assert (farm.outcome, farm.error) == ("failed", 1302)


def test_a_bad_map_is_named(tmp_path: Path) -> None:
    command = own_command("run", "--source", "local", "--workdir", str(tmp_path), "--staging-site", "a=b,c")
    done = subprocess.run(command, env=own_environment(), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2 and "--staging-site: 'c' is not compute=staging" in done.stderr


# lists


def transfer(folder: Path, entries: list[dict[str, Any]], *options: str) -> subprocess.CompletedProcess[str]:
    (folder / "list.json").write_text(json.dumps(entries))
    command = own_command("transfer", str(folder / "list.json"), *options)
    return subprocess.run(
        command, cwd=folder, env=own_environment(), capture_output=True, text=True, timeout=60, check=False
    )


def entry(folder: Path, name: str, **more: Any) -> dict[str, Any]:
    staging = [{"url": f"{folder}/{site}/{name}", "site_label": site} for site in ("local", "firefly_srm", "other")]
    return {"type": "transfer", "lfn": name, "staging": staging, **more}


PEGASUS = "nebraska=firefly_srm,osg=firefly_srm,*=local"


def test_a_list_s_outputs_go_to_the_staging_site_that_the_map_has_for_the_compute_site(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(DATA)
    entries = []
    for site in ("nebraska", "elsewhere"):
        for kind, keep in (("pure", True), ("pure", False), ("intermediate", True), ("intermediate", False)):
            name = f"{site}-{kind}-{keep}"
            source = {"url": str(tmp_path / "data"), "site_label": site}
            output = str(tmp_path / "final" / name)
            entries.append(entry(tmp_path, name, sources=[source], output=output, output_class=kind, transfer=keep))
    done = transfer(tmp_path, entries, "--staging-site", PEGASUS)
    assert done.returncode == 0, done.stderr
    for site, staging in (("nebraska", "firefly_srm"), ("elsewhere", "local")):
        places = {f"{p.parent.name} {p.name}" for p in tmp_path.rglob(f"{site}-*")}
        assert places == {
            f"final {site}-pure-True", f"{staging} {site}-pure-False", f"final {site}-intermediate-True",
            f"{staging} {site}-intermediate-True", f"{staging} {site}-intermediate-False",
        }  # fmt: skip


def test_a_list_s_inputs_come_from_the_staging_site_or_pass_it_by_as_the_plan_says(tmp_path: Path) -> None:
    for folder in ("own", "firefly_srm"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "in").write_text(folder)
    target = {"url": str(tmp_path / "here" / "in"), "site_label": "osg"}
    entries = [entry(tmp_path, "in", sources=[str(tmp_path / "own" / "in")], targets=[target])]
    for options, first in (
        ((), "firefly_srm"),
        (("--bypass-staging",), "own"),
        (("--site", "elsewhere"), "local"),
        (("--site", "nebraska"), "firefly_srm"),
    ):
        told = transfer(tmp_path, entries, "--staging-site", PEGASUS, *options, "--explain", "--json")
        assert told.returncode == 0, told.stderr
        steps = json.loads(told.stdout)["plan"][0]["steps"]
        assert {Path(step["source"]).parent.name for step in steps} == {"own", first} | (
            {"firefly_srm"} if first == "own" else set()
        )
        assert Path(steps[0]["source"]).parent.name == first
        assert not (tmp_path / "here").exists(), "a plan moves nothing"
    assert transfer(tmp_path, entries, "--staging-site", PEGASUS, "--site", "elsewhere").returncode == 0
    assert (tmp_path / "here" / "in").read_text() == "own", "the staging site does not have it: the next source does"


def test_an_output_without_place_at_the_staging_site_of_its_site_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(DATA)
    one = entry(tmp_path, "o", sources=[str(tmp_path / "data")], output=str(tmp_path / "final"), output_class="pure")
    done = transfer(tmp_path, [one], "--staging-site", "*=nowhere", "--site", "osg")
    assert done.returncode == 2 and "has no place at a staging site of osg" in done.stderr
    done = transfer(tmp_path, [one], "--staging-site", "a=b,c")
    assert done.returncode == 2 and "'c' is not compute=staging" in done.stderr
