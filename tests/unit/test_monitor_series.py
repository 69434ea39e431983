"""Summaries, leak fits and thinned series: pure arithmetic against figures worked out by hand."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilot.core.series import memory_leak, thinned
from pilot.core.tally import Tally
from pilot.core.usage import Sample, Usage


def test_means_weigh_each_value_by_its_time() -> None:
    tally = Tally()
    tally.add(Sample(at=0, wall_s=0, rss_kb=100, processes=1))
    tally.add(Sample(at=1, wall_s=1, rss_kb=100, processes=1))
    tally.add(Sample(at=9, wall_s=9, rss_kb=300, processes=3))
    usage = tally.usage()
    assert usage.avg_rss_kb == round((1 * 100 + 8 * 200) / 9)
    assert usage.avg_processes == pytest.approx((1 + 8 * 2) / 9)
    assert (usage.max_rss_kb, usage.max_processes, usage.samples, usage.wall_s) == (300, 3, 3, 9)


def test_one_look_is_its_own_mean_and_none_is_nothing() -> None:
    tally = Tally()
    assert tally.usage() == Usage()
    tally.add(Sample(at=0, wall_s=3, pss_kb=70))
    assert (tally.usage().avg_pss_kb, tally.usage().max_pss_kb) == (70, 70)


def test_the_end_brings_totals_and_leaves_memory_and_means_alone() -> None:
    tally = Tally()
    tally.add(Sample(at=0, wall_s=0, rss_kb=100, user_s=0.1))
    tally.add(Sample(at=2, wall_s=2, rss_kb=100, user_s=0.2))
    tally.finish(Sample(at=9, wall_s=9, rss_kb=0, user_s=5.0, rchar=7))
    usage = tally.usage()
    assert (usage.avg_rss_kb, usage.user_s, usage.rchar, usage.wall_s) == (100, 5.0, 7, 9)
    assert tally.last is not None and tally.last.rss_kb == 100


def test_a_pss_in_doubt_is_no_maximum_until_it_has_been_so_for_long() -> None:
    tally = Tally()
    tally.add(Sample(at=0, wall_s=0, pss_kb=50))
    tally.add(Sample(at=1, wall_s=1, pss_kb=90, pss_settled=False))
    assert tally.usage().max_pss_kb == 50
    tally.add(Sample(at=40, wall_s=40, pss_kb=80, pss_settled=False))
    assert tally.usage().max_pss_kb == 80


def test_a_pss_never_settled_is_better_than_none() -> None:
    tally = Tally()
    tally.add(Sample(at=0, wall_s=0, pss_kb=90, pss_settled=False))
    assert tally.usage().max_pss_kb == 90


def test_a_straight_line_is_found_with_its_slope_and_start() -> None:
    times = [1.7e9 + 60 * n for n in range(50)]
    leak = memory_leak(times, [1000 + 2.5 * (t - 1.7e9) for t in times])
    assert leak is not None
    assert leak.slope_kb_s == pytest.approx(2.5)
    assert leak.chi2 == pytest.approx(0, abs=1e-6)
    assert leak.intersect_kb + leak.slope_kb_s * 1.7e9 == pytest.approx(1000, rel=1e-3)


def test_a_short_series_is_fitted_without_its_start_and_end() -> None:
    leak = memory_leak([float(n) for n in range(20)], [0.0] * 5 + [100.0 + n for n in range(13)] + [9999.0] * 2)
    assert leak is not None and leak.slope_kb_s == pytest.approx(1.0)


def test_too_few_points_are_no_leak() -> None:
    assert memory_leak([1.0] * 7, [1.0] * 7) is None
    assert memory_leak([float(n) for n in range(8)], [5.0] * 8) is not None


def test_a_long_series_loses_the_edges_that_spoil_the_line() -> None:
    times = [float(n) for n in range(300)]
    noise = random.Random(1)
    memory = [20.0 * min(n, 40) + 3.0 * n + 1000 + noise.uniform(-1, 1) for n in range(300)]
    leak = memory_leak(times, memory)
    assert leak is not None and leak.slope_kb_s == pytest.approx(3.0, rel=0.02)


def test_a_series_without_any_spread_of_time_has_no_slope() -> None:
    leak = memory_leak([5.0] * 12, [float(n) for n in range(12)])
    assert leak is not None and leak.slope_kb_s == 0


@given(st.lists(st.integers(0, 1000), max_size=400), st.integers(4, 60))
def test_a_thinned_series_is_short_keeps_ends_and_the_extremes(values: list[int], keep: int) -> None:
    points = list(enumerate(values))
    thin = thinned(points, keep, [float(v) for v in values])
    assert len(thin) <= keep and thin == sorted(thin)
    if points:
        assert thin[0] == points[0] and thin[-1] == points[-1]
        assert {max(values), min(values)} <= {value for _, value in thin}
