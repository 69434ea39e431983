"""The outputs of one job's ranges: gathered into archives by size and age, closed, stored, or given up. Sans I/O.

An output is put into the open archive soon after it is there, so that little is left to do on a warning. An archive's
ranges stay DONE until its file is whole and on disk; then they are PACKED and their own files may go.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from pilot.core.rangestate import ArchiveState, RangeState, StoredArchive
from pilot.runtime.ledger import Ledger


class OutputLimits(msgspec.Struct, frozen=True):
    """When an archive is closed (bytes, ranges, s since its first output), how long outputs wait for being put into it,
    how often a failed store is tried and after how many s, and how many archives in a row may be lost."""

    bytes: int = 500_000_000
    ranges: int = 10_000
    age_s: float = 600.0
    gather_s: float = 1.0
    batch: int = 500
    store_tries: int = 3
    store_wait_s: float = 30.0
    most_lost: int = 20


class OutputHands(Protocol):
    """Carries out what is ordered, elsewhere, and answers by calling `Outputs`."""

    def pack(self, archive: int, outputs: Sequence[tuple[int, str, str]]) -> None:
        """Append these outputs (number, range id, path) to the open archive. Answer: `packed`."""

    def close_archive(self, archive: int, events: int) -> None:
        """Finish the archive's file. Answer: `closed`, or `spoiled` when that failed."""

    def discard(self, archive: int) -> None:
        """Forget an archive that nothing came of, and its file."""

    def store(self, archive: StoredArchive) -> None:
        """Send it away. Answer: `stored` or `not_stored`."""


class Outputs:
    """Of one job. `settled` gathers the ranges that can be told, `changed_archives` the archives that are to be written
    to the PilotDB: the owner takes both away."""

    def __init__(self, ledger: Ledger, hands: OutputHands, limits: OutputLimits, first: int = 0) -> None:
        self._ledger = ledger
        self._hands = hands
        self._limits = limits
        self._next = first
        self._fresh: list[int] = []
        self._fresh_since = 0.0
        self._open: int | None = None
        self._open_since = 0.0
        self._open_bytes = 0
        self._members: list[int] = []
        self._packing: list[int] = []
        self._at_once = limits.ranges
        self._busy = False
        self._storing: dict[int, list[int]] = {}
        self._to_store: list[StoredArchive] = []
        self._again: list[tuple[float, StoredArchive, int]] = []
        self._trying: dict[int, int] = {}
        self._redoable: set[int] = set()
        self.settled: list[int] = []
        self.changed_archives: list[StoredArchive] = []
        self.lost_in_a_row = 0
        self.flushing = False

    @property
    def idle(self) -> bool:
        """Whether every output there is has been stored or given up."""
        return not (self._fresh or self._members or self._busy or self._storing or self._again)

    @property
    def hopeless(self) -> bool:
        """Whether so many archives were lost in a row that there is no point in making more."""
        return self.lost_in_a_row >= self._limits.most_lost

    def add(self, n: int, now: float, redoable: bool = False) -> None:
        """A range has an output. `redoable`: it may be worked through again if the output is found to be missing."""
        if not self._fresh:
            self._fresh_since = now
        self._fresh.append(n)
        if redoable:
            self._redoable.add(n)

    def take_up(self, archive: StoredArchive, members: list[int]) -> None:
        """An archive is whole and on disk, but nobody has stored it: `step` will order that."""
        self._storing[archive.number] = members
        self._to_store.append(archive)

    def due(self) -> float | None:
        """When `step` has something to do next (monotonic s); None: not before something happens."""
        times = [when for when, _, _ in self._again]
        if self._to_store:
            times.append(0.0)
        if not self._busy:
            if self._fresh and not self._squeezed:
                times.append(self._fresh_since + self._limits.gather_s)
            if self._members:
                times.append(self._open_since + self._limits.age_s)
        return min(times) if times else None

    def step(self, now: float) -> None:
        """Give the orders that are due."""
        for item in [item for item in self._again if self.flushing or item[0] <= now]:
            self._again.remove(item)
            self._begin_store(item[1], item[2] + 1)
        to_store, self._to_store = self._to_store, []
        for archive in to_store:
            self._begin_store(archive, 1)
        if self._busy:
            return
        most = now >= self._fresh_since and len(self._fresh) >= self._limits.batch
        gathered = most or now >= self._fresh_since + self._limits.gather_s
        if self._members and self._full(now):
            self._close()
        elif self._fresh and (gathered or self.flushing) and not self._squeezed:
            self._pack(now)
        elif self._members and self.flushing and not self._fresh:
            self._close()

    def _close(self) -> None:
        self._busy = True
        assert self._open is not None
        self._hands.close_archive(self._open, sum(self._ledger.events(n) for n in self._members))

    @property
    def _squeezed(self) -> bool:
        """Whether there is little room on the disk: what is on its way must be gone before more is packed."""
        return self._at_once < self._limits.ranges and bool(self._storing)

    def _full(self, now: float) -> bool:
        limits = self._limits
        return (
            self._open_bytes >= limits.bytes
            or len(self._members) >= self._at_once
            or now >= self._open_since + limits.age_s
        )

    def _pack(self, now: float) -> None:
        if self._open is None:
            self._open, self._next = self._next, self._next + 1
            self._open_since, self._open_bytes = now, 0
        most = max(1, min(self._limits.batch, self._at_once - len(self._members)))
        batch, self._fresh = self._fresh[:most], self._fresh[most:]
        self._fresh_since, self._packing = now, batch
        self._busy = True
        self._hands.pack(self._open, [(n, self._ledger.id(n), self._ledger.said(n).output) for n in batch])

    # what came of it

    def packed(self, good: Sequence[int], bad: dict[int, str], bytes: int) -> None:
        """Outputs were appended; `bytes` is the archive's size now. `bad` ones could not be read, and why."""
        self._busy, self._packing = False, []
        self._open_bytes = bytes
        self._members.extend(good)
        for n, why in bad.items():
            if n in self._redoable:
                self._ledger.redo([n])
            else:
                self._ledger.lose([n], why)
                self.settled.append(n)
        self._redoable.difference_update(good, bad)
        if not self._members and not self._fresh:
            self._drop_open()

    def closed(self, archive: StoredArchive) -> list[str]:
        """The archive's file is whole. The outputs that it holds: their own files may go once this is on disk."""
        self._busy = False
        members, self._members, self._open = self._members, [], None
        self._at_once = min(self._limits.ranges, 2 * self._at_once)
        paths = [self._ledger.said(n).output for n in members]
        self._ledger.pack(members, archive.number)
        self.changed_archives.append(archive)
        self.take_up(archive, members)
        return paths

    def spoiled(self, why: str, now: float) -> None:
        """The open archive could not be written: its outputs go into smaller ones, each stored and away before the
        next is begun, for the disk may be full. What does not even fit alone waits, and is lost in the end."""
        self._busy = False
        tried = [*self._members, *self._packing]
        self._fresh = [*tried, *self._fresh]
        self._members, self._packing = [], []
        self._at_once = max(1, len(tried) // 2)
        self._drop_open()
        if len(tried) > 1:
            self._fresh_since = now
            return
        self._fresh_since = now + self._limits.store_wait_s
        self.lost_in_a_row += 1
        if self.hopeless or self.flushing:
            count = len(self._fresh) if self.hopeless else 1
            lost, self._fresh = self._fresh[:count], self._fresh[count:]
            self._ledger.lose(lost, f"no archive could be written: {why}")
            self.settled.extend(lost)

    def stored(self, archive: StoredArchive) -> None:
        """The archive is where it belongs."""
        members = self._storing.pop(archive.number)
        self._ledger.store(members)
        self.lost_in_a_row = 0
        self.changed_archives.append(msgspec.structs.replace(archive, state=ArchiveState.STORED))
        self.settled.extend(members)

    def not_stored(self, archive: StoredArchive, why: str, now: float, retry: bool = True) -> None:
        """No storage took it: it is tried again after a while, and in the end given up."""
        tries = self._trying.pop(archive.number, 1)
        if retry and tries < self._limits.store_tries:
            self._again.append((now + self._limits.store_wait_s, archive, tries))
            return
        members = self._storing.pop(archive.number)
        self._ledger.lose(members, f"its output could not be stored: {why}")
        self.lost_in_a_row += 1
        self.changed_archives.append(msgspec.structs.replace(archive, state=ArchiveState.LOST))
        self.settled.extend(members)

    def _begin_store(self, archive: StoredArchive, tries: int) -> None:
        self._trying[archive.number] = tries
        self._hands.store(archive)

    def _drop_open(self) -> None:
        if self._open is not None:
            self._hands.discard(self._open)
            self._open = None


def members_of(ledger: Ledger) -> dict[int, list[int]]:
    """The ranges of each archive that was closed and not stored, as a restarted pilot finds them."""
    found: dict[int, list[int]] = {}
    for n in ledger.in_state(RangeState.PACKED):
        found.setdefault(ledger.archive(n), []).append(n)
    return found
