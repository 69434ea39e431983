"""The cache of inputs that are fetched ahead: small, in the order of need, and made of the right bytes."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from pilot.core.job import InputFile
from pilot.lib.extents import fetch, merged, without
from pilot.runtime.prefetch import is_prefetched, plan

NAMES = st.sampled_from("abcdef")
SIZES = st.dictionaries(NAMES, st.integers(0, 100))


@given(st.lists(NAMES, max_size=10), SIZES, SIZES, st.sets(NAMES, max_size=3), st.sets(NAMES), st.integers(0, 300))
def test_the_cache_keeps_its_bound_and_what_is_needed(upcoming, sizes, cached, under_way, in_use, limit):
    under_way -= set(cached)
    orders = plan(upcoming, sizes, cached, under_way, in_use, limit)
    assert not set(orders.evict) & (in_use | set(upcoming))
    assert not set(orders.fetch) & (set(cached) | under_way) and set(orders.fetch) <= set(upcoming)
    assert len(orders.fetch) == len(set(orders.fetch)) <= max(0, 2 - len(under_way))
    held = sum(size for name, size in cached.items() if name not in orders.evict)
    coming = sum(sizes.get(name, 0) for name in (*under_way, *orders.fetch) if name != (upcoming or [""])[0])
    before = sum(cached.values()) + sum(sizes.get(name, 0) for name in under_way)
    assert held + coming <= max(limit, before)


def test_the_input_that_is_needed_next_is_fetched_whatever_it_weighs():
    assert plan(["big", "next"], {"big": 500, "next": 1}, {}, (), (), 100).fetch == ("big",)


def test_inputs_that_nobody_needs_make_room_for_the_next():
    orders = plan(["c"], {"c": 50}, {"a": 40, "b": 40}, (), {"b"}, 100)
    assert (orders.fetch, orders.evict) == (("c",), ("a",))


def test_libraries_and_archives_are_needed_from_the_start():
    names = ["x.root", "user.lib.tgz", "data.tar.gz", "mc.raw.1", "raw.5"]
    assert [is_prefetched(InputFile(name)) for name in names] == [True, False, False, False, False]
    assert not is_prefetched(InputFile("x", archive=True))


EXTENTS = st.lists(st.tuples(st.integers(0, 200), st.integers(0, 40)), max_size=8)


def bytes_of(extents) -> set[int]:
    return {n for first, count in extents for n in range(first, first + count)}


@given(EXTENTS, st.integers(0, 30))
def test_pieces_are_joined_without_losing_a_byte(extents, gap):
    found = merged(extents, gap)
    assert bytes_of(extents) <= bytes_of(found)
    assert gap or bytes_of(extents) == bytes_of(found)
    assert all(a + b + gap < c for (a, b), (c, _) in pairwise(found))


@given(EXTENTS, EXTENTS)
def test_only_what_is_missing_is_fetched(extents, known):
    assert bytes_of(without(extents, known)) == bytes_of(extents) - bytes_of(known)


def test_parts_lie_at_their_places_in_the_copy(tmp_path):
    (tmp_path / "a").write_bytes(bytes(range(256)) * 1000)
    assert fetch(f"file://{tmp_path}/a", [(10, 5), (100_000, 300)], tmp_path / "b", 256_000) == 305
    data = (tmp_path / "b").read_bytes()
    assert len(data) == 256_000
    assert data[10:15] == bytes(range(10, 15)) and data[0:10] == bytes(10)
    assert data[100_000:100_300] == (tmp_path / "a").read_bytes()[100_000:100_300]
