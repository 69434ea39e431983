"""Which job descriptions the server takes and how it completes them."""

from __future__ import annotations

from typing import Any

import pytest

from pilot.server.description import completed, slips


def spec(**more: Any) -> dict[str, Any]:
    return {"transformation": "x", "inFiles": "a,b", "outFiles": "out", **more}


@pytest.mark.parametrize(
    ("wrong", "key"),
    [
        ({"transformation": None}, "transformation"),
        ({"transformation": 3}, "transformation"),
        ({"coreCount": "two"}, "coreCount"),
        ({"PandaID": -1}, "PandaID"),
        ({"minRamCount": 1.5}, "minRamCount"),
        ({"maxWalltime": True}, "maxWalltime"),
        ({"jobPars": ["a"]}, "jobPars"),
        ({"inFiles": {"a": 1}}, "inFiles"),
        ({"inFiles": ["a,b"]}, "inFiles"),
        ({"inFiles": "a,a"}, "inFiles"),
        ({"inFiles": "a,,b"}, "inFiles"),
        ({"fsize": "1"}, "fsize"),
        ({"checksum": "ad:1,ad:2,ad:3"}, "checksum"),
        ({"scopeOut": "s,s"}, "scopeOut"),
        ({"ddmEndPointOut": "a,b,c"}, "ddmEndPointOut"),
        ({"allowNoOutput": "other"}, "allowNoOutput"),
        ({"eventService": "yes"}, "eventService"),
        ({"eventService": "True", "nEvents": 10}, "nEventsPerRange"),
        ({"eventService": "True", "nEventsPerRange": 5}, "nEvents"),
        ({"eventService": "True", "nEventsPerRange": 5, "nEvents": "1,2,3"}, "nEvents"),
        ({"eventService": "True", "nEventsPerRange": 5, "nEvents": 5, "inFiles": ""}, "inFiles"),
        ({"cloneJob": "twice"}, "cloneJob"),
    ],
)
def test_a_mistake_is_named_by_its_key(wrong: dict[str, Any], key: str) -> None:
    assert [slip.key for slip in slips(spec(**wrong))] == [key]


@pytest.mark.parametrize("good", [{}, {"fsize": "1,2"}, {"inFiles": None}, {"nEvents": 3}, {"anything": object()}])
def test_a_sound_description_has_no_mistake(good: dict[str, Any]) -> None:
    assert slips(spec(**good)) == []


def test_what_is_no_object_is_no_description() -> None:
    assert slips([1])[0].key == "(all)"


def test_gaps_are_filled_and_the_log_joins_the_outputs() -> None:
    full = completed(spec(jobName="n/1", scopeOut="s", ddmEndPointOut="RSE"), 7)
    assert (full["PandaID"], full["attemptNr"], full["prodSourceLabel"]) == (7, 1, "managed")
    assert full["logFile"] == "n_1.7.log.tgz"
    assert full["outFiles"] == "out,n_1.7.log.tgz"
    assert (full["scopeLog"], full["ddmEndPointOut"]) == ("s", "RSE,RSE")
    assert full["logGUID"]


def test_what_is_given_stays() -> None:
    given = spec(logFile="my.log", outFiles="my.log,out", logGUID="G", scopeLog="l", attemptNr="3", extra={"a": 1})
    full = completed(given, 7)
    assert {key: full[key] for key in given if key != "attemptNr"} == {
        k: v for k, v in given.items() if k != "attemptNr"
    }
    assert full["attemptNr"] == 3


def test_lists_become_comma_separated_texts() -> None:
    full = completed(spec(inFiles=["a", "b"], fsize=[1, 2]), 7)
    assert (full["inFiles"], full["fsize"]) == ("a,b", "1,2")
