"""The lists that Harvester takes away when it comes by: more entries join those that it has not fetched yet.

A list is taken back under another name first. Harvester fetches by renaming, too, so one of the two gets it, whole.
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import json
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pilot.lib.files import write_atomically

Entries = dict[str, list[Any]]

#: What Harvester appends to the name of a list while it works with it.
READ = ".read"
_BACK = ".back."
_LONG_BYTES = 4_000_000


def lies(path: Path, beside: int = 0) -> bool:
    """Whether a list lies there, or is on its way there. With `beside` only one with entries of other jobs counts."""
    there = [path, *_taken_back(path)] if path.parent.is_dir() else []
    if not beside:
        return len(there) > 1 or path.exists()
    return any(key != str(beside) for place in there for key in _entries(place))


def is_long(path: Path) -> bool:
    """Whether so much lies there that writing it all again with each new entry would take too long."""
    try:
        return path.stat().st_size > _LONG_BYTES
    except OSError:
        return False


def is_read(path: Path) -> bool:
    """Whether Harvester is working with such a list."""
    return path.with_name(path.name + READ).exists()


def put(path: Path, new: Entries, *others: Path) -> None:
    """Write a list with these entries behind those that lie there, and in the other lists. Raises `OSError`.

    Whenever it is interrupted, the next call finds what was taken back.
    """
    with alone(path.parent):
        _put(path, new, others)


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """No other pilot at this access point is here meanwhile, as far as its file system knows of locks."""
    fd = os.open(folder / ".pilots.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _put(path: Path, new: Entries, others: Sequence[Path]) -> None:
    taken: list[Path] = []
    for place in (*others, path):
        with contextlib.suppress(FileNotFoundError):
            os.rename(place, place.with_name(f"{place.name}{_BACK}{time.time_ns()}"))
        taken += _taken_back(place)
    gathered: Entries = {}
    seen: set[tuple[str, str]] = set()
    for entries in (*map(_entries, taken), new):
        for key, more in entries.items():
            for entry in more:
                mark = (key, json.dumps(entry, sort_keys=True))
                if mark not in seen:
                    seen.add(mark)
                    gathered.setdefault(key, []).append(entry)
    write_atomically(path, json.dumps(gathered))
    for place in taken:
        place.unlink(missing_ok=True)


def lists_ranges(path: Path, new: Entries) -> bool:
    """Whether outcomes of event ranges are in these entries, or in those that lie there."""
    known = (*map(_entries, (path, *_taken_back(path))), new)
    return any("eventRangeID" in entry for every in known for entries in every.values() for entry in entries)


def ranges_in(*paths: Path) -> set[str]:
    """The ids of the ranges in these lists, wherever they are on their way, and in what Harvester has kept of them."""
    found: set[str] = set()
    for path in paths:
        for place in path.parent.glob(f"{glob.escape(path.name)}*"):
            every = (entry for entries in _entries(place).values() for entry in entries if isinstance(entry, dict))
            found.update(str(entry["eventRangeID"]) for entry in every if "eventRangeID" in entry)
    return found


def _taken_back(path: Path) -> list[Path]:
    with os.scandir(path.parent) as folder:
        return sorted(path.with_name(entry.name) for entry in folder if entry.name.startswith(path.name + _BACK))


def _entries(path: Path) -> Entries:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return {key: value for key, value in found.items() if isinstance(value, list)} if isinstance(found, dict) else {}
