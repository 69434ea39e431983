"""Cutting events into ranges."""

from __future__ import annotations

import pytest

from pilot.server.eventset import Cut, InputFile, RangeId, cuts, parsed


def spec(**more: object) -> dict[str, object]:
    return {"inFiles": "a,b", "GUID": "A,B", "scopeIn": "s,t", **more}


def test_one_count_is_divided_over_the_files_and_the_rest_goes_to_the_first() -> None:
    assert list(cuts(spec(nEvents=11))) == [Cut("a", "A", "s", 6), Cut("b", "B", "t", 5)]


def test_a_count_for_each_file_is_taken_as_it_is() -> None:
    assert [cut.events for cut in cuts(spec(nEvents="3,9"))] == [3, 9]


def test_bounds_are_inclusive_count_from_one_and_stop_at_the_end_of_the_file() -> None:
    file = InputFile(5, "a", "A", "s", 2421, first=10)
    assert file.bounds(10, 50) == (1, 50)
    assert file.bounds(11, 50) == (51, 100)
    assert file.bounds(58, 50) == (2401, 2421)


def test_a_range_name_is_five_numbers() -> None:
    name = RangeId(1, 2, 3, 4, 5)
    assert str(name) == "1-2-3-4-5"
    assert parsed("1-2-3-4-5") == name


@pytest.mark.parametrize("text", ["1-2-3-4", "1-2-3-4-5-6", "1-2-3-4-x", "1-2-3-4-", "", None, 12345, "1-2-3-4-²"])
def test_anything_else_is_no_range_name(text: object) -> None:
    assert parsed(text) is None
