"""Whole jobs whose inputs are known to a catalogue alone: which replica is taken, and which one the next time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.copytools.webserver import WebServer, serving
from tests.farm import DATA, Catalogue, Farm


@pytest.fixture
def web(tmp_path: Path) -> Iterator[WebServer]:
    with serving(tmp_path / "web") as server:
        (server.root / "f").write_bytes(DATA)
        yield server


@pytest.fixture
def rucio(tmp_path: Path) -> Catalogue:
    return Catalogue(tmp_path / "rucio")


def test_all_inputs_are_asked_for_at_once_and_the_near_replica_is_taken(
    tmp_path: Path, web: WebServer, rucio: Catalogue
) -> None:
    farm = Farm(tmp_path, allow_wan=True)
    near = farm.store("one")
    rucio.tell("one", (f"{web.url}/f", "FAR"), (f"file://{near}", "DISK"))
    rucio.tell("two", (f"{web.url}/f", "FAR"))
    files = farm.run("-c 'cat one two > o.txt'", "one", "two", options=rucio.options, ddmEndPointIn="")
    assert farm.outcome == "finished", farm.log
    assert (farm.directory / "o.txt").read_bytes() == DATA * 2
    assert {name: source for name, _, source, _ in farm.attempts if name in files} == {
        "one": f"file://{near}",
        "two": f"{web.url}/f",
    }
    (asked,) = rucio.asked()
    assert asked["dids"] == ["s:one", "s:two"]
    assert asked["location"]["site"] == "Q" and asked["location"]["fqdn"]


def test_the_next_replica_is_taken_when_one_does_not_give_the_file(
    tmp_path: Path, web: WebServer, rucio: Catalogue
) -> None:
    farm = Farm(tmp_path, allow_wan=True)
    rucio.tell("one", (f"{web.url}/gone", "A"), (f"{web.url}/other/f", "B"), (f"{web.url}/f", "C"))
    rucio.known["s:one"]["sums"] = {"adler32": farm.adler32}
    rucio.tell("two", (f"{web.url}/f", "C"))
    farm.run("-c 'cat one two > o.txt'", "one", "two", options=rucio.options, ddmEndPointIn="")
    assert farm.outcome == "finished", farm.log
    tried = [(source.removeprefix(web.url), code) for name, _, source, code in farm.attempts if name == "one"]
    assert tried == [("/gone", 1331), ("/other/f", 1171), ("/f", None)]


def test_a_queue_without_far_replicas_has_none_and_says_so(tmp_path: Path, web: WebServer, rucio: Catalogue) -> None:
    farm = Farm(tmp_path)
    rucio.tell("one", (f"{web.url}/f", "FAR"))
    farm.run("-c true", "one", options=rucio.options, ddmEndPointIn="")
    assert (farm.outcome, farm.error) == ("failed", 1326)
    farm.run("-c true", "unheard-of", options=rucio.options, ddmEndPointIn="")
    assert (farm.outcome, farm.error) == ("failed", 1100)


def test_a_catalogue_that_does_not_answer_is_asked_again_and_then_told(tmp_path: Path, rucio: Catalogue) -> None:
    farm = Farm(tmp_path)
    (rucio.folder / "down").touch()
    farm.run("-c true", "one", options=[*rucio.options, "--stageout-attempts", "2"], ddmEndPointIn="")
    assert (farm.outcome, farm.error) == ("failed", 1322)
    assert len(rucio.asked()) == 2


def test_inputs_with_a_known_place_need_no_catalogue(tmp_path: Path, rucio: Catalogue) -> None:
    farm = Farm(tmp_path)
    path = farm.store("one")
    farm.run("-c 'cat one > o.txt'", "one", options=rucio.options, inFilePaths=str(path))
    assert farm.outcome == "finished" and rucio.asked() == []


@pytest.mark.parametrize(("remembers", "wanted"), [(True, "fast"), (False, "slow")])
def test_a_source_that_was_faster_is_preferred_by_the_next_pilot(
    remembers: bool, wanted: str, tmp_path: Path, web: WebServer, rucio: Catalogue
) -> None:
    farm = Farm(tmp_path, allow_wan=True)
    (web.root / "f").write_bytes(DATA * 20)
    size = len(DATA) * 20
    with serving(tmp_path / "quick") as quick:
        (quick.root / "f").write_bytes(DATA * 20)
        rucio.tell("one", (f"{web.url}/slow/f", "A"), size=size)
        rucio.tell("two", (f"{quick.url}/f", "B"), size=size)
        rucio.tell("three", (f"{web.url}/f", "A"), (f"{quick.url}/f", "B"), size=size)
        speeds = str(tmp_path / "speeds.json") if remembers else "none"
        options = [*rucio.options, "--source-speeds", speeds]
        farm.run("-c 'cat one two > o.txt'", "one", "two", options=options, ddmEndPointIn="", fsize="")
        assert farm.outcome == "finished", farm.log
        farm.run("-c 'cat three > o2.txt'", "three", options=options, ddmEndPointIn="", fsize="", outFiles="o2.txt")
        assert farm.outcome == "finished", farm.log
        taken = [source for name, _, source, _ in farm.attempts if name == "three"]
    assert taken == [f"{quick.url if wanted == 'fast' else web.url}/f"]
    if remembers:
        known = json.loads((tmp_path / "speeds.json").read_text())
        assert known[quick.url[7:]][0] > known[web.url[7:]][0]


def test_a_replica_that_none_of_the_queue_s_tools_can_move_is_passed_over(
    tmp_path: Path, web: WebServer, rucio: Catalogue
) -> None:
    farm = Farm(tmp_path, allow_wan=True, acopytools={"pr": ["http"], "pw": ["copy"]})
    rucio.tell("one", ("gsiftp://nowhere/one", "DISK"), (f"{web.url}/f", "FAR"))
    farm.run("-c 'cat one > o.txt'", "one", options=rucio.options, ddmEndPointIn="")
    assert farm.outcome == "finished", farm.log
    assert [source for name, _, source, _ in farm.attempts if name == "one"] == [f"{web.url}/f"]
    rucio.tell("two", ("gsiftp://nowhere/two", "DISK"))
    farm.run("-c true", "two", options=rucio.options, ddmEndPointIn="")
    assert (farm.outcome, farm.error) == ("failed", 1313)


@pytest.mark.parametrize(("tools", "known", "asked"), [
    (["rucio"], False, True), (["xrdcp"], True, True), (["xrdcp"], False, False), (["copy"], True, False),
])  # fmt: skip
def test_rucio_is_asked_where_the_queue_s_tools_go_by_replicas_and_it_is_set_up(
    tools: list[str], known: bool, asked: bool, tmp_path: Path, rucio: Catalogue
) -> None:
    farm = Farm(tmp_path, acopytools={"pr": [*tools, "copy"], "pw": ["copy"]})
    farm.store("one")
    farm.run(
        "-c true",
        "one",
        options=["--rucio-python", str(rucio.python)],
        environment={"RUCIO_HOME": str(rucio.folder) if known else "", "VIRTUAL_ENV": ""},
    )
    assert bool(rucio.asked()) is asked


def by_rule(tmp_path: Path, rucio: Catalogue, **queue: object) -> tuple[Farm, list[str]]:
    """A queue that goes by Rucio if that is here, and the options for that."""
    tools = {"acopytools": {"pr": ["rucio", "cp"], "pw": ["cp"]}}
    return Farm(tmp_path, **{**tools, **queue}), ["--rucio-python", str(rucio.python), "--stageout-attempts", "1"]


@pytest.mark.parametrize("down", [True, False])
def test_inputs_of_which_rucio_tells_nothing_are_taken_by_the_rule_of_paths(
    down: bool, tmp_path: Path, rucio: Catalogue
) -> None:
    farm, options = by_rule(tmp_path, rucio)
    farm.store("one")
    if down:
        (rucio.folder / "down").touch()
    farm.run("-c 'cat one > o.txt'", "one", options=options)
    assert farm.outcome == "finished", farm.log
    assert [(tool, source) for name, tool, source, _ in farm.attempts if name == "one"] == [
        ("copy", f"file://{farm.place('one')}")
    ], "the tool that asks Rucio of every file is left out"
    assert len(rucio.asked()) == 1
    assert (
        f"{'nobody answers' if down else 's:one'}" in farm.log and "looked for by the rule of paths: s:one" in farm.log
    )
    farm.run("-c true", "one", options=[*options, "--replicas", "rucio"])
    assert (farm.outcome, farm.error) == ("failed", 1322 if down else 1100), "with rucio it has the last word"


def test_only_the_inputs_that_rucio_does_not_know_go_by_the_rule(
    tmp_path: Path, web: WebServer, rucio: Catalogue
) -> None:
    farm, options = by_rule(tmp_path, rucio, allow_wan=True, acopytools={"pr": ["cp", "http", "lsm"]})
    farm.store("new")
    rucio.tell("old", (f"{web.url}/f", "FAR"))
    environment = {"RUCIO_HOME": str(tmp_path)}
    farm.run("-c 'cat new old > o.txt'", "new", "old", options=options, environment=environment)
    assert farm.outcome == "finished", farm.log
    sources = {name: source for name, _, source, _ in farm.attempts}
    assert (sources["new"], sources["old"]) == (f"file://{farm.place('new')}", f"{web.url}/f")


@pytest.mark.parametrize(("down", "code"), [(True, 1322), (False, 1100)])
def test_an_input_that_is_not_there_by_the_rule_either_fails_for_what_rucio_said(
    down: bool, code: int, tmp_path: Path, rucio: Catalogue
) -> None:
    farm, options = by_rule(tmp_path, rucio)
    if down:
        (rucio.folder / "down").touch()
    farm.run("-c true", "one", options=options)
    assert (farm.outcome, farm.error) == ("failed", code)
    assert 1331 in [code for *_, code in farm.attempts]
    farm.run(
        "-c true",
        "one",
        options=options,
        ddmEndPointIn="NOWHERE",
        jobPars='-c true --overwriteQueueData={"astorages": {}}',
    )
    assert (farm.outcome, farm.error) == ("failed", code) and "nothing is known of this storage" in farm.log


def test_inputs_that_come_through_caches_are_asked_for_by_xrootd_and_not_on_tape(
    tmp_path: Path, rucio: Catalogue
) -> None:
    farm = Farm(tmp_path)
    place = {"RUCIO_LATITUDE": "46.2", "RUCIO_LONGITUDE": "east"}
    farm.run("-c true", "one", options=rucio.options, environment=place, ddmEndPointIn="", useVP="True")
    (asked,) = rucio.asked()
    assert (asked["schemes"], asked["expression"]) == (["root"], "istape=False\\type=SPECIAL")
    assert asked["location"]["latitude"] == 46.2 and "longitude" not in asked["location"]


@pytest.mark.parametrize("tool", ["mv", "unheard-of"])
def test_queues_whose_tools_need_no_catalogue_ask_none(tool: str, tmp_path: Path, rucio: Catalogue) -> None:
    farm = Farm(tmp_path, acopytools={"pr": [tool, "mv"], "pw": ["mv"]})
    farm.store("one")
    options = ["--rucio-python", str(rucio.python)]
    farm.run("-c 'cat one > o.txt'", "one", options=options, environment={"RUCIO_HOME": str(tmp_path)})
    assert farm.outcome == "finished", farm.log
    assert rucio.asked() == []
