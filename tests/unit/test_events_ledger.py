"""The ledger of event ranges: every range has one outcome whatever the workers, the pilot and the server do."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from pilot.core.ranges import EventRange
from pilot.core.rangestate import RangeState, Row, Said, WrongState
from pilot.runtime.ledger import Ledger

R = RangeState


def ranges(first: int, count: int) -> list[EventRange]:
    return [
        EventRange(f"4-7-{n // 10}-{n}-1", f"in_{n // 10}.root", n * 50 + 1, n * 50 + 50)
        for n in range(first, first + count)
    ]


def filled(count: int) -> Ledger:
    ledger = Ledger()
    ledger.grant(ranges(0, count))
    return ledger


def test_ranges_are_handed_out_in_the_servers_order_and_only_once():
    ledger = filled(5)
    assert ledger.hand(1, 2) == [0, 1]
    assert ledger.hand(2, 10) == [2, 3, 4]
    assert ledger.hand(1, 1) == []
    assert (ledger.ready, ledger.held) == (0, 5)


def test_a_range_that_is_granted_again_is_not_worked_through_again():
    ledger = filled(3)
    assert ledger.grant(ranges(1, 4)) == 2
    assert len(ledger) == 5


def test_a_range_comes_back_whole_from_the_table():
    ledger = Ledger()
    item = EventRange("1-2-3-4-5", "a.root", 7, 9, "GUID", "mc", "http://x/a.root", {"hp_point": {"lr": 0.1}})
    ledger.grant([item])
    assert ledger.range(0) == item
    assert ledger.events(0) == 3


def test_what_a_dead_worker_held_goes_to_another():
    ledger = filled(3)
    ledger.hand(1, 2)
    assert ledger.gone(1, begun=[0]) == [0, 1]
    assert ledger.upcoming(3) == [1, 2, 0], "the range over which it died comes last"
    assert ledger.hand(2, 3) == [1, 2, 0]


def test_a_range_over_which_workers_keep_dying_fails_and_says_so():
    ledger = Ledger(max_tries=2)
    ledger.grant(ranges(0, 1))
    ledger.hand(1, 1)
    assert ledger.gone(1) == [0]
    ledger.hand(2, 1)
    assert ledger.gone(2) == []
    assert ledger.state(0) is R.FAILED
    assert "2 times" in ledger.said(0).failure


def test_handing_back_what_was_not_begun_is_no_fault_of_the_range():
    ledger = Ledger(max_tries=1)
    ledger.grant(ranges(0, 2))
    ledger.hand(1, 2)
    assert ledger.give_back(1, [1]) == [1]
    assert ledger.held_by(1) == [0]
    assert ledger.hand(2, 5) == [1]


def test_an_outcome_from_a_worker_that_does_not_have_the_range_changes_nothing():
    ledger = filled(1)
    ledger.hand(1, 1)
    ledger.gone(1)
    ledger.hand(2, 1)
    assert not ledger.done(1, 0, Said("late.root"))
    assert not ledger.failed(1, 0, "late")
    assert ledger.done(2, 0, Said("good.root", 1.5, 2.0))
    assert not ledger.failed(2, 0, "changed its mind")
    assert ledger.said(0).output == "good.root"
    assert (ledger.cpu_s, ledger.wall_s, ledger.events_done) == (1.5, 2.0, 50)


def test_a_range_without_output_can_be_told_at_once():
    ledger = filled(1)
    ledger.hand(1, 1)
    ledger.done(1, 0, Said())
    assert ledger.state(0) is R.STORED


def test_the_way_of_an_output_cannot_skip_a_step():
    ledger = filled(1)
    ledger.hand(1, 1)
    with pytest.raises(WrongState, match="4-7-0-0-1 is HELD"):
        ledger.pack([0], 1)
    ledger.done(1, 0, Said("x"))
    with pytest.raises(WrongState):
        ledger.told([0])


def test_lost_outputs_do_not_count_as_events_done():
    ledger = filled(2)
    ledger.hand(1, 2)
    for n in (0, 1):
        ledger.done(1, n, Said("x", 1.0, 1.0))
    ledger.lose([0], "no storage took it")
    ledger.redo([1])
    assert (ledger.events_done, ledger.cpu_s, ledger.finished) == (0, 0.0, 0)
    assert ledger.state(0) is R.FAILED
    assert ledger.hand(2, 1) == [1]


def test_words_on_a_range_are_forgotten_only_after_they_were_written():
    ledger = filled(1)
    ledger.hand(1, 1)
    ledger.done(1, 0, Said("x"))
    ledger.pack([0], 3)
    ledger.store([0])
    ledger.told([0])
    (row,) = ledger.unwritten()
    assert row.said == Said("x") and row.archive == 3 and row.range is not None
    assert ledger.said(0) == Said()
    assert not ledger.has_unwritten


def test_what_waits_comes_next_in_the_order_of_upcoming():
    ledger = filled(6)
    ledger.hand(1, 3)
    ledger.give_back(1, [1])
    assert ledger.upcoming(3) == [1, 3, 4]
    assert ledger.hand(2, 3) == [1, 3, 4]


class LedgerStory(RuleBasedStateMachine):
    """Any order of grants, deaths, lost outputs, crashes: the ledger against the plainest possible model."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger(max_tries=3)
        self.disk: dict[int, Row] = {}
        self.granted = 0
        self.outcomes: dict[str, list[str]] = {}

    def pick(self, state: R) -> list[int]:
        return self.ledger.in_state(state)

    @rule(count=st.integers(1, 6), repeat=st.integers(0, 3))
    def grant(self, count: int, repeat: int) -> None:
        first = max(self.granted - repeat, 0)
        new = self.ledger.grant(ranges(first, count + self.granted - first))
        assert new == count
        self.granted += count

    @rule(worker=st.integers(0, 3), count=st.integers(1, 4))
    def hand(self, worker: int, count: int) -> None:
        ready = self.ledger.ready
        numbers = self.ledger.hand(worker, count)
        assert len(numbers) == min(count, ready)
        assert set(numbers) <= set(self.ledger.held_by(worker))

    @rule(worker=st.integers(0, 3), n=st.integers(0, 30), output=st.booleans())
    def done(self, worker: int, n: int, output: bool) -> None:
        had = n in self.ledger.held_by(worker)
        assert self.ledger.done(worker, n, Said("f" if output else "", 1.0, 1.0)) == had

    @rule(worker=st.integers(0, 3), n=st.integers(0, 30))
    def fail(self, worker: int, n: int) -> None:
        had = n in self.ledger.held_by(worker)
        assert self.ledger.failed(worker, n, "why") == had

    @rule(worker=st.integers(0, 3))
    def die(self, worker: int) -> None:
        self.ledger.gone(worker)
        assert self.ledger.held_by(worker) == []

    @rule(worker=st.integers(0, 3))
    def hand_back(self, worker: int) -> None:
        self.ledger.give_back(worker)

    @rule(fate=st.sampled_from(["store", "unpack", "lose", "redo"]))
    def archive(self, fate: str) -> None:
        numbers = self.pick(R.DONE)[:3]
        self.ledger.pack(numbers, 1)
        if fate == "store":
            self.ledger.store(numbers)
        elif fate == "unpack":
            self.ledger.unpack(numbers)
        elif fate == "lose":
            self.ledger.lose(numbers, "lost")
        else:
            self.ledger.redo(numbers)

    @rule(accepted=st.booleans(), heard=st.booleans())
    def report(self, accepted: bool, heard: bool) -> None:
        """Tell the server; its answer may be lost. What is to be told must be on disk first."""
        self.write()
        numbers = [*self.pick(R.STORED), *self.pick(R.FAILED)]
        for n in numbers:
            word = "finished" if self.ledger.state(n) is R.STORED else "failed"
            self.outcomes.setdefault(self.ledger.id(n), []).append(word)
        if heard:
            self.ledger.told(numbers, accepted)

    @rule()
    def write(self) -> None:
        for row in self.ledger.unwritten():
            old = self.disk.get(row.n)
            item = row.range or (old.range if old else None)
            self.disk[row.n] = Row(row.n, row.state, row.tries, row.archive, row.said, item)

    @rule()
    def crash(self) -> None:
        """The pilot is killed: what was not written is gone, and with it the grants that nobody heard of."""
        self.ledger = Ledger(max_tries=3)
        self.ledger.restore([self.disk[n] for n in sorted(self.disk)])
        self.granted = len(self.ledger)
        assert self.ledger.held == 0

    @invariant()
    def every_range_is_in_exactly_one_place(self) -> None:
        assert sum(self.ledger.count(s) for s in R) == len(self.ledger) == self.granted
        assert self.ledger.held == sum(len(self.ledger.held_by(w)) for w in range(4))
        assert self.ledger.finished == sum(self.ledger.count(s) for s in (R.DONE, R.PACKED, R.STORED, R.TOLD_FINISHED))

    @invariant()
    def the_server_never_hears_two_different_outcomes(self) -> None:
        assert all(len(set(words)) == 1 for words in self.outcomes.values())

    @invariant()
    def sums_are_those_of_the_finished_ranges(self) -> None:
        assert self.ledger.cpu_s == pytest.approx(self.ledger.finished)
        assert self.ledger.events_done == 50 * self.ledger.finished


LedgerStory.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestLedgerStory = LedgerStory.TestCase


def test_a_story_of_any_length_can_be_abandoned():
    ledger = filled(4)
    ledger.hand(1, 2)
    ledger.done(1, 0, Said("x"))
    assert ledger.abandon() == 3
    assert ledger.count(R.RETURNED) == 3 and ledger.hand(2, 9) == []
