"""Event ranges in the PilotDB: what was written is found again, all or nothing, by a ledger that goes on from there."""

from __future__ import annotations

import sqlite3

import pytest

from pilot.core.errors import FileHandlingFailure
from pilot.core.ranges import EventRange
from pilot.core.rangestate import ArchiveState, RangeState, Said, StoredArchive
from pilot.db.ranges import RangeStore
from pilot.db.store import Store
from pilot.runtime.ledger import Ledger


@pytest.fixture
def path(tmp_path):
    Store(tmp_path / "pilot.db").close()
    return tmp_path / "pilot.db"


def some_ranges(count: int) -> list[EventRange]:
    return [
        EventRange(f"1-2-{n // 3}-{n}-1", f"in{n // 3}", n + 1, n + 1, "G", "mc", "", {"hp_point": n} if n == 4 else {})
        for n in range(count)
    ]


def test_a_ledger_goes_on_from_what_is_on_disk(path):
    ledger, store = Ledger(), RangeStore(path)
    ledger.grant(some_ranges(8))
    store.write("7.1", ledger.unwritten())
    ledger.hand(1, 6)
    ledger.done(1, 0, Said("out/0", 1.5, 2.0, loss=0.25))
    ledger.done(1, 1, Said("out/1"))
    ledger.pack([1], 0)
    ledger.failed(1, 2, "no such branch", fatal=True)
    ledger.gone(1)
    ledger.hand(2, 1)
    store.write("7.1", ledger.unwritten(), [StoredArchive(0, "a.tar", "/x/a.tar", ArchiveState.CLOSED, 10, "01", 1)])
    store.close()

    found = RangeStore(path)
    again = Ledger()
    again.restore(found.ranges("7.1"))
    assert [again.range(n) for n in range(8)] == some_ranges(8)
    assert [again.state(n).name for n in range(8)] == ["DONE", "PACKED", "FAILED"] + ["READY"] * 5
    assert again.said(0) == Said("out/0", 1.5, 2.0, loss=0.25) and again.cpu_s == 1.5
    assert again.said(2) == Said(failure="no such branch", fatal=True)
    assert again.archive(1) == 0
    assert sorted(again.hand(3, 9)) == [3, 4, 5, 6, 7]
    assert found.archives("7.1") == [StoredArchive(0, "a.tar", "/x/a.tar", ArchiveState.CLOSED, 10, "01", 1)]
    found.close()


def test_deaths_are_remembered_over_a_restart(path):
    ledger, store = Ledger(max_tries=2), RangeStore(path)
    ledger.grant(some_ranges(1))
    ledger.hand(1, 1)
    ledger.gone(1)
    store.write("k", ledger.unwritten())
    again = Ledger(max_tries=2)
    again.restore(store.ranges("k"))
    again.hand(1, 1)
    assert again.gone(1) == [] and again.state(0) is RangeState.FAILED
    store.close()


def test_jobs_do_not_see_each_others_ranges(path):
    store = RangeStore(path)
    for key in ("a", "b"):
        ledger = Ledger()
        ledger.grant(some_ranges(2 if key == "a" else 5))
        store.write(key, ledger.unwritten())
    assert [len(list(store.ranges(key))) for key in ("a", "b", "c")] == [2, 5, 0]
    assert store.counts("b") == {RangeState.READY: 5}
    store.close()


def test_a_write_that_fails_leaves_nothing_behind(path):
    store = RangeStore(path)
    ledger = Ledger()
    ledger.grant(some_ranges(3))
    rows = ledger.unwritten()
    with pytest.raises(FileHandlingFailure, match=r"pilot\.db"):
        store.write("k", [*rows, rows[0]])
    assert list(store.ranges("k")) == []
    store.write("k", rows)
    assert len(list(store.ranges("k"))) == 3
    store.close()


def test_an_older_file_gets_the_tables(tmp_path):
    from pilot.db import schema

    path = tmp_path / "old.db"
    with sqlite3.connect(path) as old:
        old.executescript(schema.MIGRATIONS[0][1] + "; PRAGMA user_version = 1;")
    old.close()
    Store(path).close()
    store = RangeStore(path)
    assert list(store.ranges("k")) == []
    store.close()
