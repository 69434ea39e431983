"""Taking job descriptions into the database: all of a list or none."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterator, Sequence

import msgspec

from pilot.server.description import Slip, Spec, completed, is_null, is_on, slips, whole
from pilot.server.history import note
from pilot.server.rangestore import attach
from pilot.server.refusal import BadSubmission, Fault

_INSERT = """
INSERT INTO job (pandaid, task_id, jobset_id, site, label, processing_type, user, resource_type, priority, min_ram_mb,
    max_disk_mb, max_wall_s, attempt, status, debug, clone, event_set, created,
    spec)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'activated', ?, ?, ?, ?, ?)
"""


def submit(db: sqlite3.Connection, specs: Sequence[object], now: float, *, checked: bool = True) -> list[Spec]:
    """Stores the descriptions as activated jobs and returns them as they will be served, in order.

    A missing PandaID is given. Raises `BadSubmission` with every mistake found; then nothing is stored.
    `checked=False` lets wrong values through to the pilot, for tests of a pilot's manners.
    """
    faults = [
        Fault(index, _name(spec), slip.key, slip.message)
        for index, spec in enumerate(specs)
        for slip in slips(spec)
        if checked or not isinstance(spec, dict)
    ]
    known = [spec for spec in specs if isinstance(spec, dict)]
    faults = faults or [Fault(index, _name(known[index]), slip.key, slip.message) for index, slip in _taken(db, known)]
    if faults:
        raise BadSubmission(tuple(faults))
    numbers = _free_numbers(db, known)
    return [insert(db, completed(spec, _own_number(spec) or next(numbers)), now, "submitted") for spec in known]


def _name(spec: object) -> str:
    return str(spec.get("jobName") or spec.get("PandaID") or "") if isinstance(spec, dict) else ""


def _own_number(spec: Spec) -> int:
    return whole(spec, "PandaID")


def _taken(db: sqlite3.Connection, specs: Sequence[Spec]) -> Iterator[tuple[int, Slip]]:
    seen: set[int] = set()
    for index, spec in enumerate(specs):
        number = _own_number(spec)
        if number and (number in seen or db.execute("SELECT 1 FROM job WHERE pandaid = ?", (number,)).fetchone()):
            yield index, Slip("PandaID", f"{number} is taken")
        seen.add(number)


def _free_numbers(db: sqlite3.Connection, specs: Sequence[Spec]) -> Iterator[int]:
    return itertools.count(max([free_number(db), *(_own_number(spec) + 1 for spec in specs)]))


def free_number(db: sqlite3.Connection) -> int:
    """A PandaID that no job has had."""
    (highest,) = db.execute("SELECT coalesce(max(pandaid), 0) FROM job").fetchone()
    return int(highest) + 1


def insert(db: sqlite3.Connection, spec: Spec, now: float, why: str) -> Spec:
    """Stores one complete description as an activated job."""
    values = (
        spec["PandaID"], _number(spec, "taskID"), _number(spec, "jobsetID"), _word(spec, "computingSite"),
        str(spec["prodSourceLabel"]), _word(spec, "processingType"), _word(spec, "prodUserID"),
        _word(spec, "resource_type"), whole(spec, "currentPriority"), whole(spec, "minRamCount"),
        whole(spec, "maxDiskCount"), _number(spec, "maxWalltime"), spec["attemptNr"], is_on(spec, "debug"),
        _word(spec, "cloneJob"), attach(db, spec), now, msgspec.json.encode(spec).decode(),
    )  # fmt: skip
    db.execute(_INSERT, values)
    note(db, spec["PandaID"], now, "activated", why)
    return spec


def _number(spec: Spec, key: str) -> int | None:
    return whole(spec, key) if not is_null(spec.get(key)) else None


def _word(spec: Spec, key: str) -> str | None:
    return None if is_null(spec.get(key)) else str(spec[key])
