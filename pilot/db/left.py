"""What a dead pilot left undone, read from its PilotDB. A connection of its own, which writes nothing."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path


def unfinished_below(db: Path | str, directory: Path | str) -> int:
    """How many jobs whose directories lie below this one have not come to their end; 0 where there is no PilotDB."""
    begin = f"{directory}/"
    try:
        # Not read-only: what the write-ahead log holds can be read only where its index may be made.
        uri = f"{Path(db).absolute().as_uri()}?mode=rw"
        with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=10.0)) as connection:
            rows = connection.execute("SELECT directory FROM jobs WHERE phase <> 'done'").fetchall()
    except sqlite3.Error:
        return 0
    return sum(str(row[0]).startswith(begin) for row in rows)
