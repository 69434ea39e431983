"""How many ranges are asked for: enough that nobody waits, never more than can be worked through."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilot.runtime.demand import Limits, Pace, wanted

PACES = st.builds(Pace, wall_s=st.none() | st.floats(0.001, 5000), answer_s=st.none() | st.floats(0, 600))


@given(st.integers(0, 256), st.integers(0, 10**6), st.integers(0, 1000), PACES, st.none() | st.floats(-100, 1e6))
def test_a_request_is_never_larger_than_its_limit_and_what_the_time_allows(workers, ready, held, pace, left):
    count = wanted(workers, ready, held, pace, left)
    assert 0 <= count <= Limits().most
    if left is not None and pace.wall_s is not None:
        assert not count or ready + held + count <= max(workers, 1) * left / pace.wall_s
    if left is not None and left <= 0:
        assert count == 0


@given(st.integers(1, 256), st.floats(0.001, 100), st.floats(0, 10))
def test_the_stock_lasts_until_the_answer_comes(workers, wall_s, answer_s):
    """Whenever nothing is asked for, the stock is enough for an answer's time of work, or for one more range each."""
    pace = Pace(wall_s, answer_s)
    ready = 0
    while (count := wanted(workers, ready, workers, pace)) > 0 and ready < 10**6:
        ready += count
    assert ready >= min(workers * answer_s / wall_s, 10**6)


def test_nobody_knows_how_long_a_range_takes_at_first():
    assert wanted(4, 0, 0, Pace()) == math.ceil(8 * 1.05)
    assert wanted(4, 4, 0, Pace()) == 0
    assert wanted(4, 0, 0, Pace(answer_s=60.0)) == 56, "a slow answer is worth a larger request"


def test_long_ranges_are_not_hoarded():
    assert wanted(8, 0, 8, Pace(wall_s=600.0, answer_s=0.1)) == 1
    assert wanted(8, 1, 8, Pace(wall_s=600.0, answer_s=0.1)) == 0


def test_one_range_too_long_for_the_time_is_not_asked_for():
    assert wanted(1, 0, 0, Pace(wall_s=100.0, answer_s=0.1), seconds_left=99.0) == 0
    assert wanted(1, 0, 0, Pace(wall_s=100.0, answer_s=0.1), seconds_left=101.0) == 1


def test_measurements_are_smoothed_but_a_slow_answer_counts_at_once():
    pace = Pace().worked(10.0).worked(20.0)
    assert pace.wall_s == pytest.approx(11.0)
    assert Pace().answered(0.1).answered(5.0).answer_s == 5.0
    assert Pace().answered(5.0).answered(0.1).answer_s == pytest.approx(3.53)
