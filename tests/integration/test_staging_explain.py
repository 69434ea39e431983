"""What is told of the way of a job's files: before the job (`pilot run --explain`) and after it (`pilot show`)."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pilot.lib.program import own_command, own_environment
from tests.copytools.webserver import WebServer, serving
from tests.farm import DATA, Catalogue, Farm

LISTS = {"read_lan": ["DISK", "UNHEARD_OF"], "write_lan": ["STAGE", "OTHER"], "pl": ["DISK"]}
OUTPUTS = {"outFiles": "o.txt,log.tgz", "scopeOut": "s", "scopeLog": "s", "logFile": "log.tgz"}


@pytest.fixture
def rucio(tmp_path: Path) -> Catalogue:
    return Catalogue(tmp_path / "rucio")


@pytest.fixture
def web(tmp_path: Path) -> Iterator[WebServer]:
    with serving(tmp_path / "web") as server:
        (server.root / "f").write_bytes(DATA)
        yield server


def called(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        own_command(*words),
        env=own_environment() | environment,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


def files_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.name != "asked"}


def job(folder: Path, *lfns: str, **more: Any) -> Path:
    told = {
        "PandaID": 7, "attemptNr": 1, "jobName": "a job", "transformation": "/bin/true", "inFiles": ",".join(lfns),
        "scopeIn": ",".join("s" for _ in lfns), "fsize": ",".join("7000" for _ in lfns), **OUTPUTS, **more,
    }  # fmt: skip
    path = folder / "wanted.json"
    path.write_text(json.dumps(told))
    return path


def explained(farm: Farm, *options: str, job: Path) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """The plan of one job, and that of its files by LFN. The work directory that is named is never made."""
    places = ["--queuedata-url", str(farm.work / "queuedata.json")]
    places += ["--storagedata-url", str(farm.work / "cric_ddmendpoints.json")]
    before = files_below(farm.folder)
    done = called("run", "--explain", "--json", "--queue", "Q", "--workdir", str(farm.folder / "never"), *places,
                  *options, str(job))  # fmt: skip
    assert files_below(farm.folder) == before, "nothing is moved, made or kept"
    (told,) = json.loads(done.stdout)["jobs"]
    bad = bool(told["errors"]) or any("error" in file for file in told["files"])
    assert done.returncode == (1 if bad else 0), done.stderr
    return told, {file["lfn"]: file for file in told["files"]}


def test_the_places_of_an_input_are_told_in_order_with_the_reasons_against_the_others(
    tmp_path: Path, rucio: Catalogue
) -> None:
    farm = Farm(tmp_path, "STAGE", "OTHER", astorages=LISTS, acopytools_schemas={"pr": ["root", "davs", "file"]})
    rucio.tell("one", ("srm://h/x", "DISK"), ("davs://u:secret@far/f", "FAR"), ("davs://near/f", "DISK"),
               ("root://near//f", "DISK"))  # fmt: skip
    rucio.known["s:one"]["sums"] = {"adler32": farm.adler32}
    rucio.tell("two", ("davs://far/f", "FAR"))
    told, files = explained(farm, *rucio.options, "--source", "panda", job=job(tmp_path, "one", "two"))
    assert (told["job_id"], told["attempt"], told["name"], told["errors"]) == (7, 1, "a job", [])
    one = files["one"]
    assert [(place["url"], place["near"], place["copytool"]) for place in one["places"]] == [
        ("root://near//f", "lan", "xrootd"),
        ("davs://near/f", "lan", "http"),
    ]
    assert [(left["url"], left["why"]) for left in one["left_out"]] == [
        ("srm://h/x", "the queue's schemes are root, davs, file"),
        ("davs://u:...@far/f", "far, and the queue has no allow_wan"),
    ]
    assert (one["how"], one["because"], one["by"]) == ("copy", "the job does not ask to read in place", "Rucio")
    assert one["checksums"] == [{"kind": "adler32", "value": farm.adler32}]
    assert (files["two"]["code"], [left["rse"] for left in files["two"]["left_out"]]) == (1326, ["FAR"])
    assert "secret" not in json.dumps(told)


def test_where_outputs_and_the_log_go_and_where_they_would_go_instead_is_told(tmp_path: Path) -> None:
    farm = Farm(tmp_path, "STAGE", "OTHER", astorages=LISTS, params={"allow_altstageout": True})
    _, files = explained(farm, job=job(tmp_path, ddmEndPointOut="OTHER,"))
    out, log = files["o.txt"], files["log.tgz"]
    assert [place["url"] for place in out["places"]] == [f"file://{farm.place('o.txt', 'OTHER')}"]
    assert [place["rse"] for place in out["alternative"]] == ["STAGE"]
    assert out["because"] == "named by the job and on the queue's list write_lan"
    assert (log["direction"], log["places"][0]["rse"], log["because"]) == (
        "log",
        "DISK",
        "first of the queue's list pl",
    )
    assert [place["rse"] for place in log["alternative"]] == ["STAGE", "OTHER"]


def test_why_there_is_no_second_choice_and_no_object_store_is_told(tmp_path: Path) -> None:
    farm = Farm(tmp_path)
    _, files = explained(farm, job=job(tmp_path, ddmEndPointOut="ELSEWHERE,DISK", putLogToOS="True"))
    assert "ELSEWHERE, which the job names, is not on it" in files["o.txt"]["because"]
    assert files["o.txt"]["otherwise"] == "no second choice: altStageOut of the job is off"
    assert files["log.tgz"]["notes"] == ["no object store takes logs"]


def test_staging_sites_and_classes_are_part_of_the_plan(tmp_path: Path) -> None:
    farm = Farm(tmp_path, "STAGE", "OTHER", catchall='staging_site="*=STAGE"')
    classes = {"pureOutput": [], "intermediateOutput": ["o.txt"], "ddmEndPointOut": "DISK,DISK"}
    _, files = explained(farm, job=job(tmp_path, "one", ddmEndPointIn="DISK", **classes))
    assert [place["rse"] for place in files["one"]["places"]] == ["STAGE", "DISK"]
    absent = [f"{place['url'].removeprefix('file://')}: not there now" for place in files["one"]["places"]]
    assert files["one"]["notes"] == ["through the staging site first", *absent]
    assert [place["rse"] for place in files["o.txt"]["places"]] == ["DISK", "STAGE"]
    assert files["o.txt"]["notes"] == ["intermediate output, wanted at the output site"]
    _, files = explained(farm, "--bypass-staging", "true", job=job(tmp_path, "one", ddmEndPointIn="DISK"))
    assert [place["rse"] for place in files["one"]["places"]] == ["DISK", "STAGE"]


def test_inputs_that_are_read_in_place_are_told_with_the_reason_for_the_others(tmp_path: Path) -> None:
    farm = Farm(tmp_path, direct_access_lan=True)
    wanted = job(tmp_path, "one.root", "two.tar.gz", ddmEndPointIn="DISK,DISK", transferType="direct")
    _, files = explained(farm, job=wanted)
    one, two = files["one.root"], files["two.tar.gz"]
    assert (one["how"], [place.get("in_place", False) for place in one["places"]]) == ("in place", [True, False])
    assert (two["how"], two["because"]) == ("copy", "names like this one are never read in place")


def test_what_is_wrong_with_a_job_is_told_and_ends_with_1(tmp_path: Path) -> None:
    farm = Farm(tmp_path, maxinputsize=1)
    told, _ = explained(farm, job=job(tmp_path, "one", ddmEndPointIn="DISK", fsize=str(1 << 21)))
    assert "1 MB" in told["errors"][0]
    told, files = explained(farm, job=job(tmp_path, "one", checksum="ad:xyz"))
    assert told["errors"][0].startswith("checksum of 'one': ") and files == {}
    assert called("run", "--explain", "--queue", "Q").returncode == 2
    assert called("run", "--json", "--source", "local", str(job(tmp_path))).returncode == 2


def test_a_person_reads_the_same(tmp_path: Path, rucio: Catalogue) -> None:
    farm = Farm(tmp_path, "STAGE", "OTHER", astorages=LISTS)
    rucio.tell("one", ("davs://far/f", "FAR"), ("root://near//f", "DISK"))
    words = ["run", "--explain", "--queue", "Q", "--workdir", str(farm.work), *rucio.options]
    done = called(*words, str(job(tmp_path, "one")))
    assert done.returncode == 0, done.stderr
    assert "1. xrootd: root://near//f (DISK, near), credential: " in done.stdout
    assert "-  davs://far/f (FAR): far, and the queue has no allow_wan" in done.stdout
    assert f"1. copy: {farm.place('o.txt', 'STAGE')} (STAGE)" in done.stdout


def shown(farm: Farm, as_json: bool = False) -> Any:
    done = called("show", str(farm.number), "--db", str(farm.work), *(["--json"] if as_json else []))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) if as_json else done.stdout


def test_afterwards_it_is_told_which_source_was_taken_and_why_not_the_others(
    tmp_path: Path, web: WebServer, rucio: Catalogue
) -> None:
    farm = Farm(tmp_path, allow_wan=True)
    rucio.tell("one", (f"{web.url}/gone", "A"), (f"{web.url}/f", "B"), (f"{web.url}/f?last", "C"))
    rucio.known["s:one"]["places"].append({"pfn": "root://t//f", "rse": "TAPE", "type": "TAPE"})
    rucio.tell("other")
    farm.run("-c true", "one", options=rucio.options, ddmEndPointIn="", outFiles="", scopeOut="", ddmEndPointOut="")
    assert farm.outcome == "finished", farm.log
    text = shown(farm)
    assert f"1. http: {web.url}/gone (A, far) <- failed: " in text
    assert f"2. http: {web.url}/f (B, far) <- taken\n" in text
    assert f"3. http: {web.url}/f?last (C, far) <- not needed" in text
    assert "-  root://t//f (TAPE): on tape" in text
    (plan,) = shown(farm, as_json=True)["plan"]
    assert (plan["lfn"], [place["rse"] for place in plan["places"]]) == ("one", ["A", "B", "C"])


def test_the_plan_of_a_job_that_found_no_source_is_kept(tmp_path: Path, rucio: Catalogue) -> None:
    farm = Farm(tmp_path)
    rucio.tell("one", ("root://far//f", "FAR"))
    farm.run("-c true", "one", options=rucio.options, ddmEndPointIn="")
    assert farm.error == 1326
    text = shown(farm)
    assert "error 1326: " in text and "root://far//f (FAR): far, and the queue has no allow_wan" in text


def test_a_second_storage_that_took_the_outputs_is_told_after_the_first(tmp_path: Path) -> None:
    lists = {"read_lan": ["DISK"], "write_lan": ["STAGE", "OTHER"]}
    farm = Farm(tmp_path, "STAGE", "OTHER", astorages=lists, params={"allow_altstageout": True})
    (tmp_path / "stage").write_text("no directory")
    farm.run("-c 'echo x > o.txt'", ddmEndPointOut="STAGE", options=["--stageout-attempts", "1"])
    assert farm.outcome == "finished", farm.log
    text = shown(farm)
    assert f"1. copy: {farm.place('o.txt', 'STAGE')} (STAGE) <- failed: " in text
    assert f"else  copy: {farm.place('o.txt', 'OTHER')} (OTHER) <- taken" in text


def test_a_db_of_a_pilot_that_kept_no_plans_is_shown_without(tmp_path: Path) -> None:
    import sqlite3

    farm = Farm(tmp_path)
    farm.run("-c 'echo x > o.txt'")
    with sqlite3.connect(farm.work / "pilot.db") as db:
        db.execute("DROP TABLE plans")
    db.close()
    assert shown(farm, as_json=True)["plan"] == []
