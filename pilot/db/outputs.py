"""What earlier pilots have moved, read when a pilot starts. A connection of its own, which only reads."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import msgspec

from pilot.core.transfer import Attempt

#: So many outputs are remembered, the latest ones.
_MOST = 50_000
_OUTPUTS = (
    "SELECT f.target, j.job_id, j.acquired AS at FROM jobs j JOIN files f ON f.key = j.key AND f.direction = 'out'"
    " WHERE f.state = 'transferred' AND f.target <> '' AND f.lfn <> ifnull(json_extract(j.definition, '$.logFile'), '')"
)
#: Those of jobs whose stage-out has not ended.
_ON_THE_WAY = (
    "SELECT t.target, j.job_id, j.acquired AS at FROM jobs j JOIN transfers t ON t.key = j.key AND t.direction = 'out'"
    " WHERE j.phase <> 'done' AND t.error_code IS NULL AND t.target <> ''"
    " AND t.lfn <> ifnull(json_extract(j.definition, '$.logFile'), '')"
)
_OWNERS = f"SELECT target, job_id FROM ({_OUTPUTS} UNION {_ON_THE_WAY}) ORDER BY at DESC LIMIT ?"
_MOVED = (
    "SELECT lfn, direction, copytool, source, target, rse, started, seconds, checksum_seconds, size FROM transfers"
    " WHERE key = ? AND error_code IS NULL ORDER BY id"
)


def output_owners(path: Path | str) -> dict[str, int]:
    """The URL of every output that was stored, logs left out, with the number of the job that wrote it first.

    Empty for a file that cannot be read: then nothing is remembered.
    """
    try:
        with contextlib.closing(sqlite3.connect(f"{Path(path).absolute().as_uri()}?mode=ro", uri=True)) as db:
            return dict(db.execute(_OWNERS, (_MOST,)).fetchall())
    except sqlite3.Error:
        return {}


def moved_before(path: Path | str, key: str) -> dict[tuple[str, str], Attempt]:
    """The last attempt that succeeded for each file of a job, by direction and LFN; none of a PilotDB that is broken.

    Inputs that are read in place are among them: their target is not here.
    """
    names = (
        "lfn",
        "direction",
        "copytool",
        "source",
        "target",
        "rse",
        "started",
        "seconds",
        "checksum_seconds",
        "size",
    )
    found: dict[tuple[str, str], Attempt] = {}
    try:
        with contextlib.closing(sqlite3.connect(f"{Path(path).absolute().as_uri()}?mode=ro", uri=True)) as db:
            for row in db.execute(_MOVED, (key,)):
                known = {name: value for name, value in zip(names, row, strict=True) if value is not None}
                attempt = msgspec.convert(known, Attempt)
                found[str(attempt.direction), attempt.lfn] = attempt
    except (sqlite3.Error, msgspec.ValidationError):
        return {}
    return found
