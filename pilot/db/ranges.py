"""Event ranges and their archives in the PilotDB: a connection of its own, for the thread that keeps the ledgers.

One `write` is one transaction, whatever it holds: ten thousand ranges cost a few tens of milliseconds.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from pilot.core.ranges import EventRange
from pilot.core.rangestate import ArchiveState, RangeState, Row, Said, StoredArchive
from pilot.db.connection import Connection, json_text

SCHEMA = """
CREATE TABLE event_ranges (
  key TEXT NOT NULL, n INTEGER NOT NULL, id TEXT NOT NULL, file INTEGER NOT NULL, start_event INTEGER NOT NULL,
  last_event INTEGER NOT NULL, extra TEXT, state INTEGER NOT NULL, tries INTEGER NOT NULL, archive INTEGER,
  output TEXT, cpu_s REAL, wall_s REAL, failure TEXT, fatal INTEGER, PRIMARY KEY (key, n)
) WITHOUT ROWID;
CREATE TABLE event_files (
  key TEXT NOT NULL, file INTEGER NOT NULL, lfn TEXT NOT NULL, guid TEXT NOT NULL, scope TEXT NOT NULL,
  path TEXT NOT NULL, PRIMARY KEY (key, file)
) WITHOUT ROWID;
CREATE TABLE event_archives (
  key TEXT NOT NULL, archive INTEGER NOT NULL, lfn TEXT NOT NULL, path TEXT NOT NULL, state TEXT NOT NULL,
  size INTEGER NOT NULL, adler32 TEXT NOT NULL, events INTEGER NOT NULL, rse TEXT NOT NULL, storage_id TEXT NOT NULL,
  surl TEXT NOT NULL, PRIMARY KEY (key, archive)
) WITHOUT ROWID;
"""
LOSSES = "ALTER TABLE event_ranges ADD COLUMN loss REAL"

_INSERT = "INSERT INTO event_ranges VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"
_UPDATE = (
    "UPDATE event_ranges SET state=?, tries=?, archive=?, output=?, cpu_s=?, wall_s=?, failure=?, fatal=?, loss=?"
    " WHERE key=? AND n=?"
)
_SELECT = (
    "SELECT n, id, lfn, guid, scope, path, start_event, last_event, extra, state, tries, archive, output, cpu_s,"
    " wall_s, failure, fatal, loss FROM event_ranges JOIN event_files USING (key, file) WHERE key = ? ORDER BY n"
)


class RangeStore(Connection):
    """Writes and finds the ledgers of all jobs of one pilot. Used by one thread.

    Errors: `NoLocalSpace` when the disk is full, `FileHandlingFailure` for everything else that sqlite says.
    The file must have been brought up to date by `pilot.db.store.Store` before.
    """

    def __init__(self, path: Path | str) -> None:
        super().__init__(path)
        self._files: dict[str, dict[tuple[str, str, str, str], int]] = {}

    def write(self, key: str, rows: Sequence[Row], archives: Iterable[StoredArchive] = ()) -> None:
        """Write new ranges, what became of older ones, and archives, all or nothing."""
        try:
            with self.transaction():
                new = [self._new(key, row, row.range) for row in rows if row.range is not None]
                self._db.executemany(_INSERT, new)
                self._db.executemany(_UPDATE, [(*_changing(row), key, row.n) for row in rows if row.range is None])
                self._db.executemany(
                    "INSERT OR REPLACE INTO event_archives VALUES (?,?,?,?,?,?,?,?,?,?,?)",
                    [(key, *msgspec.structs.astuple(archive)) for archive in archives],
                )
        except BaseException:  # whatever it is, the numbers of its files are not written; it goes on up
            self._files.pop(key, None)
            raise

    def ranges(self, key: str) -> Iterator[Row]:
        """The job's ranges, in the order of their numbers."""
        with self._translated():
            for n, id, lfn, guid, scope, path, start, last, extra, state, tries, archive, *said in self._db.execute(
                _SELECT, (key,)
            ):
                item = EventRange(id, lfn, start, last, guid, scope, path, msgspec.json.decode(extra) if extra else {})
                yield Row(n, RangeState(state), tries, -1 if archive is None else archive, _said(*said), item)

    def archives(self, key: str) -> list[StoredArchive]:
        """The job's archives, in the order of their numbers."""
        with self._translated():
            rows = self._db.execute(
                "SELECT archive, lfn, path, state, size, adler32, events, rse, storage_id, surl FROM event_archives"
                " WHERE key = ? ORDER BY archive",
                (key,),
            ).fetchall()
        return [StoredArchive(n, lfn, path, ArchiveState(state), *rest) for n, lfn, path, state, *rest in rows]

    def counts(self, key: str) -> dict[RangeState, int]:
        """How many of the job's ranges are in which state."""
        with self._translated():
            rows = self._db.execute("SELECT state, count(*) FROM event_ranges WHERE key = ? GROUP BY state", (key,))
            return {RangeState(state): count for state, count in rows}

    def _new(self, key: str, row: Row, item: EventRange) -> tuple[object, ...]:
        file = self._file(key, (item.lfn, item.guid, item.scope, item.path))
        extra = json_text(item.extra) if item.extra else None
        first = (key, row.n, item.id, file, item.start_event, item.last_event, extra)
        return first + _changing(row)

    def _file(self, key: str, place: tuple[str, str, str, str]) -> int:
        """The number of the input file; a new one is written in the transaction that needs it."""
        known = self._files.get(key)
        if known is None:
            found = self._db.execute("SELECT lfn, guid, scope, path, file FROM event_files WHERE key = ?", (key,))
            known = self._files[key] = {(lfn, guid, scope, path): file for lfn, guid, scope, path, file in found}
        file = known.get(place)
        if file is None:
            file = known[place] = len(known)
            self._db.execute("INSERT INTO event_files VALUES (?,?,?,?,?,?)", (key, file, *place))
        return file


def outputs_at_risk(path: Path | str, key: str) -> list[str]:
    """The files of ranges that have been worked through and are in no archive yet. Opens the PilotDB for itself."""
    with contextlib.closing(RangeStore(path)) as store:
        return [row.said.output for row in store.ranges(key) if row.state is RangeState.DONE and row.said]


def _changing(row: Row) -> tuple[object, ...]:
    archive = None if row.archive < 0 else row.archive
    said = row.said
    if said is None:
        return (int(row.state), row.tries, archive, None, None, None, None, None, None)
    return (int(row.state), row.tries, archive, said.output or None, said.cpu_s, said.wall_s) + (
        (said.failure, said.fatal, said.loss) if said.failure else (None, None, said.loss)
    )


def _said(
    output: str | None,
    cpu_s: float | None,
    wall_s: float | None,
    failure: str | None,
    fatal: int | None,
    loss: float | None,
) -> Said | None:
    if output is None and cpu_s is None and wall_s is None and failure is None and loss is None:
        return None
    return Said(output or "", cpu_s, wall_s, failure or "", bool(fatal), loss)
