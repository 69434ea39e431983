"""All ranges of one job as a table of arrays: a few bytes each beside the id. Pure."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import Any

from pilot.core.ranges import EventRange
from pilot.core.rangestate import RangeState, Row, Said, WrongState

NOTHING_SAID = Said()
_NO_EXTRA: dict[str, Any] = {}
_STATES = tuple(RangeState)
_SETTLED = frozenset({RangeState.TOLD_FINISHED, RangeState.TOLD_FAILED, RangeState.REFUSED, RangeState.RETURNED})


class RangeTable:
    """The ranges by number: what they are, where they are, what was said of them, and which of it is not on disk."""

    def __init__(self) -> None:
        self._counts = [0] * len(RangeState)
        self._ids: list[str] = []
        self._number: dict[str, int] = {}
        self._state = bytearray()
        self._tries = bytearray()
        self._start = array("q")
        self._last = array("q")
        self._file = array("I")
        self._archive = array("i")
        self._files: list[tuple[str, str, str, str]] = []
        self._file_number: dict[tuple[str, str, str, str], int] = {}
        self._extra: dict[int, dict[str, Any]] = {}
        self._said: dict[int, Said] = {}
        self._changed: dict[int, None] = {}
        self._written = 0

    def __len__(self) -> int:
        return len(self._ids)

    def count(self, *states: RangeState) -> int:
        """How many ranges are in one of these states."""
        return sum(self._counts[s] for s in states)

    def state(self, n: int) -> RangeState:
        """Where the range is."""
        return _STATES[self._state[n]]

    def number(self, id: str) -> int | None:
        """The number of the range with this id."""
        return self._number.get(id)

    def id(self, n: int) -> str:
        """The range's id."""
        return self._ids[n]

    def events(self, n: int) -> int:
        """How many events the range has."""
        return max(self._last[n] - self._start[n] + 1, 0)

    def said(self, n: int) -> Said:
        """What was said of the range, as long as it has not been told."""
        return self._said.get(n, NOTHING_SAID)

    def archive(self, n: int) -> int:
        """The number of the archive that holds the range's output, or -1."""
        return self._archive[n]

    def range(self, n: int) -> EventRange:
        """The range itself."""
        lfn, guid, scope, path = self._files[self._file[n]]
        extra = self._extra.get(n, _NO_EXTRA)
        return EventRange(self._ids[n], lfn, self._start[n], self._last[n], guid, scope, path, extra)

    def in_state(self, state: RangeState) -> list[int]:
        """The numbers of all ranges in this state, in order. Walks the whole table: for the start and the end."""
        wanted = int(state)
        return [n for n, now in enumerate(self._state) if now == wanted]

    @property
    def has_unwritten(self) -> bool:
        """Whether there is anything that the PilotDB does not have."""
        return bool(self._changed) or self._written < len(self._ids)

    def unwritten(self) -> list[Row]:
        """What the PilotDB does not have yet. Afterwards the words on ranges that are settled are forgotten here."""
        new = range(self._written, len(self._ids))
        rows = [self._row(n) for n in self._changed if n < self._written]
        rows.extend(self._row(n, self.range(n)) for n in new)
        for n in self._changed:
            if self._state[n] in _SETTLED:
                self._said.pop(n, None)
        self._written = len(self._ids)
        self._changed = {}
        return rows

    def _restore(self, rows: Iterable[Row]) -> None:
        """Fill the empty table from the PilotDB, rows in order."""
        for row in rows:
            if row.n != len(self._ids) or row.range is None:
                raise WrongState(f"range {row.n} comes where {len(self._ids)} should")
            self._append(row.range, row.state)
            self._tries[row.n] = row.tries
            self._archive[row.n] = row.archive
            if row.said is not None and row.state not in _SETTLED:
                self._said[row.n] = row.said
        self._written = len(self._ids)

    def _append(self, item: EventRange, state: int) -> None:
        place = (item.lfn, item.guid, item.scope, item.path)
        file = self._file_number.get(place)
        if file is None:
            file = self._file_number[place] = len(self._files)
            self._files.append(place)
        n = len(self._ids)
        self._number[item.id] = n
        self._ids.append(item.id)
        self._state.append(state)
        self._tries.append(0)
        self._start.append(item.start_event)
        self._last.append(item.last_event)
        self._file.append(file)
        self._archive.append(-1)
        if item.extra:
            self._extra[n] = item.extra
        self._counts[state] += 1

    def _move(self, n: int, state: int) -> None:
        self._counts[self._state[n]] -= 1
        self._state[n] = state
        self._counts[state] += 1
        self._changed[n] = None

    def _must(self, n: int, *states: int) -> None:
        if self._state[n] not in states:
            raise WrongState(f"range {self._ids[n]} is {self.state(n).name}")

    def _row(self, n: int, item: EventRange | None = None) -> Row:
        return Row(n, self.state(n), self._tries[n], self._archive[n], self._said.get(n), item)
