"""The plan of each job's files in the PilotDB: where they were to come from and to go, and why not elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from pilot.core.plan import FilePlan
from pilot.db.connection import Connection, json_text

SCHEMA = """
CREATE TABLE plans (
  key TEXT NOT NULL, part TEXT NOT NULL, at REAL NOT NULL, plan TEXT NOT NULL, PRIMARY KEY (key, part)
) WITHOUT ROWID;
"""


class Plans(Connection):
    """The part of `Store` that keeps them. `clean` takes known secrets out of what is written."""

    _clean: Callable[[Any], Any]

    def put_plan(self, key: str, part: str, plan: Sequence[FilePlan]) -> None:
        """Keep the plan of a part of a job, its inputs (`in`), outputs (`out`) or log (`log`); the last one counts."""
        text = json_text(self._clean(tuple(plan)))
        self._write("INSERT OR REPLACE INTO plans VALUES (?,?,?,?)", (key, part, time.time(), text))
