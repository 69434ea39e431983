"""What the staging engine owes a person, whatever the tool: a test module imports this beside the suite.

It gives `name` (the tool) and `base` (its place), as for the suite.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pilot.core.transfer import Direction, Transfer
from pilot.plugins.copytools.registry import registry
from tests.copytools.making import adler, carry, content, order
from tests.copytools.places import Place
from tests.small_disk import small_disk


@pytest.fixture(name="small_disk")
def small_disk_of_1_mb(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "small", 1) as folder:
        yield folder


def inward(place: Place, name: str, source: str, target: Path, **more: object) -> Transfer:
    return order(place.url(source), target, direction=Direction.IN, copytool=name, **more)


def test_of_a_group_only_the_bad_files_are_lost_each_with_its_number(name: str, place: Place, tmp_path: Path) -> None:
    data = os.urandom(20_000)
    for stored in ("good", "other", "short", "twice", "last"):
        place.store(stored, data)
    outcomes = carry(
        [
            inward(place, name, "good", tmp_path / "o" / "good", checksums=adler(data), size=len(data)),
            inward(place, name, "missing", tmp_path / "o" / "missing"),
            inward(place, name, "other", tmp_path / "o" / "other", checksums=adler(b"other")),
            inward(place, name, "short", tmp_path / "o" / "short", size=len(data) + 1),
            inward(place, name, "twice", tmp_path / "o" / "good"),
            inward(place, name, "last", tmp_path / "o" / "last", checksums=adler(data)),
        ],
        place.settings,
    )
    codes = [outcome.failure.code if outcome.failure else None for outcome in outcomes]
    assert codes == [None, 1331, 1171, 1171, 1221, None], [outcome.failure for outcome in outcomes]
    assert sorted(os.listdir(tmp_path / "o")) == ["good", "last"]
    assert (tmp_path / "o" / "good").read_bytes() == (tmp_path / "o" / "last").read_bytes() == data


def test_a_full_disk_has_its_number_and_loses_only_what_does_not_fit(name: str, place: Place, small_disk: Path) -> None:
    sizes = {"first": 300_000, "large": 3_000_000, "last": 300_000}
    for stored, size in sizes.items():
        place.store(stored, os.urandom(size))
    first, large, last = carry([inward(place, name, stored, small_disk / stored) for stored in sizes], place.settings)
    assert first.failure is None and last.failure is None, (first.failure, last.failure)
    assert large.failure is not None and large.failure.code == 1098, large.failure
    assert len(large.attempts) <= 2, "a full disk is no reason to wait and try again"
    assert sorted(os.listdir(small_disk)) == ["first", "last"]


def test_an_output_that_is_not_there_keeps_no_other_from_going(name: str, place: Place, tmp_path: Path) -> None:
    if not registry().load(name).ability.put:
        pytest.skip("this tool only fetches")
    data = os.urandom(20_000)
    for here in ("a", "b"):
        content(tmp_path / here, data)
    orders = [
        order(tmp_path / here, place.url(here), direction=Direction.OUT, copytool=name) for here in ("a", "nope", "b")
    ]
    outcomes = carry(orders, place.settings)
    codes = [outcome.failure.code if outcome.failure else None for outcome in outcomes]
    assert codes == [None, 1165, None], [outcome.failure for outcome in outcomes]
    assert place.read("a") == place.read("b") == data and place.read("nope") is None
