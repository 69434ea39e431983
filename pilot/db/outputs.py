"""Where the outputs of earlier jobs are, read when a pilot starts. A connection of its own, which only reads."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

#: So many outputs are remembered, the latest ones.
_MOST = 50_000
_OUTPUTS = (
    "SELECT f.target, j.job_id FROM jobs j JOIN files f ON f.key = j.key AND f.direction = 'out'"
    " WHERE f.state = 'transferred' AND f.target <> '' AND f.lfn <> ifnull(json_extract(j.definition, '$.logFile'), '')"
    " ORDER BY j.acquired DESC LIMIT ?"
)


def output_owners(path: Path | str) -> dict[str, int]:
    """The URL of every output that was stored, logs left out, with the number of the job that wrote it first.

    Empty for a file that cannot be read: then nothing is remembered.
    """
    try:
        with contextlib.closing(sqlite3.connect(f"{Path(path).absolute().as_uri()}?mode=ro", uri=True)) as db:
            return dict(db.execute(_OUTPUTS, (_MOST,)).fetchall())
    except sqlite3.Error:
        return {}
