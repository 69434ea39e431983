"""The PilotDB has a column for everything that a sample tells."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import msgspec

from pilot.core.usage import Sample
from pilot.db.store import Store


def test_a_sample_comes_back_whole(tmp_path: Path) -> None:
    numbered = {f.name: n + 1 for n, f in enumerate(msgspec.structs.fields(Sample))}
    store = Store(tmp_path / "pilot.db")
    store.add_sample("7.1", Sample(**numbered))
    store.close()
    db = sqlite3.connect(tmp_path / "pilot.db")
    db.row_factory = sqlite3.Row
    row = dict(db.execute("SELECT * FROM samples").fetchone())
    db.close()
    assert row == {"key": "7.1", **numbered}
