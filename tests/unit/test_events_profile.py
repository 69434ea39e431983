"""A worker's accounting divided among its jobs: whatever they did, the shares add up to the whole."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilot.core.profile import Share, Span, Whole, divide

SPANS = st.lists(
    st.builds(
        lambda job, begin, length, cores, cpu, events: Span(job, begin, begin + length, cores, cpu, events),
        st.sampled_from("abcd"),
        st.floats(-50, 150),
        st.floats(0, 80),
        st.integers(0, 8),
        st.none() | st.floats(0, 500),
        st.integers(0, 1000),
    ),
    max_size=12,
)
WHOLES = st.builds(lambda begin, length, cores, cpu: Whole(begin, begin + length, cores, cpu),
                   st.floats(0, 50), st.floats(0, 100), st.integers(1, 64), st.floats(0, 5000))  # fmt: skip


@given(WHOLES, SPANS)
def test_the_shares_and_the_overhead_add_up_to_the_workers_own(whole, spans):
    division = divide(whole, spans)
    shares = division.shares.values()
    core_s = (whole.end - whole.begin) * whole.cores
    assert sum(s.wall_core_s for s in shares) + division.idle_core_s == pytest.approx(core_s, rel=1e-9, abs=1e-9)
    assert sum(s.cpu_s for s in shares) + division.idle_cpu_s == pytest.approx(whole.cpu_s, rel=1e-9, abs=1e-9)
    for share in shares:
        assert share.cpu_s >= 0 and share.wall_core_s >= 0 and share.cores > 0
        assert whole.begin <= share.begin <= share.end <= whole.end
    assert division.idle_core_s >= 0 and division.idle_cpu_s >= 0


def test_jobs_one_after_the_other_get_their_own_times():
    division = divide(Whole(0, 100, 4, 300), [Span("a", 0, 60, 4, 200, 10), Span("b", 60, 100, 4, 100)])
    assert division.shares["a"] == Share(0, 60, 240, 200, 4, 10, {"actualCoreCount": "4.00", "nEvents": "10"})
    assert division.shares["b"] == Share(60, 100, 160, 100, 4, 0, {"actualCoreCount": "4.00"})
    assert (division.idle_core_s, division.idle_cpu_s) == (0, 0)


def test_cores_in_nobodys_hand_are_borne_by_those_that_are_there():
    division = divide(Whole(0, 10, 8, 0), [Span("a", 0, 10, 3), Span("b", 0, 10, 1)])
    assert (division.shares["a"].wall_core_s, division.shares["b"].wall_core_s) == (60, 20)


def test_time_without_any_job_is_overhead():
    division = divide(Whole(0, 10, 2, 10), [Span("a", 5, 10, 2, 8.0)])
    assert division.idle_core_s == 10
    assert division.shares["a"].cpu_s + division.idle_cpu_s == 10
    assert division.idle_cpu_s == 1.0


def test_what_was_measured_beyond_the_whole_is_scaled_down():
    division = divide(Whole(0, 10, 2, 10), [Span("a", 0, 10, 1, 30.0), Span("b", 0, 10, 1, 10.0)])
    assert (division.shares["a"].cpu_s, division.shares["b"].cpu_s) == (7.5, 2.5)


def test_ranges_of_a_job_that_overlap_count_their_cores():
    division = divide(Whole(0, 10, 4, 0), [Span("a", 0, 10, 1, None, 5), Span("a", 0, 5, 1, None, 5)])
    assert division.shares["a"].cores == 1.5 and division.shares["a"].events == 10


def test_a_worker_that_did_nothing_is_all_overhead():
    division = divide(Whole(0, 10, 4, 3), [])
    assert (division.shares, division.idle_core_s, division.idle_cpu_s) == ({}, 40, 3)
