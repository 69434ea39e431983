"""One read of a file for several readers: what one of them has read lies ready for the others.

Each reader goes through the file from its beginning. A block is read from disk once and kept until all readers have
passed it; one that is far ahead waits for the others, so that little is kept. A reader that keeps the others waiting
for too long is left behind: from there on it reads for itself, and nobody waits for it again.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator

BLOCK = 1 << 20
#: So many blocks the first reader may be ahead of the last one; this bounds what is kept in memory.
_MOST_KEPT = 16
#: A reader that does not move for so long while another waits for it is left behind.
_PATIENCE_S = 30.0


class SharedRead:
    """A file that `readers` readers go through. `reads` counts the blocks that came from disk for all of them.

    No reader waits longer than `most_wait_s` in all for slower ones; then these are left behind. Threads: any number.
    """

    def __init__(self, path: str, readers: int, most_wait_s: float = float("inf")) -> None:
        self.path = path
        self.reads = 0
        self._most_wait_s = most_wait_s
        self._at = dict.fromkeys(range(readers), 0)
        self._moved = dict.fromkeys(range(readers), 0.0)
        self._waited = dict.fromkeys(range(readers), 0.0)
        self._kept: dict[int, bytes] = {}
        self._front = 0
        self._reading = False
        self._hurry = False
        self._news = threading.Condition()

    def read(self, descriptor: int, reader: int, view: memoryview, at: int) -> int:
        """The bytes from `at` on into `view`, as many as one block has; 0 at the end. Raises `OSError`."""
        number, inside = divmod(at, BLOCK)
        data = self._shared(descriptor, reader, number)
        if data is None:
            return os.preadv(descriptor, (view,), at)
        piece = data[inside : inside + len(view)]
        view[: len(piece)] = piece
        return len(piece)

    def block(self, descriptor: int, reader: int, number: int) -> bytes:
        """One block of the file, shorter or empty at its end. Raises `OSError`."""
        data = self._shared(descriptor, reader, number)
        return os.pread(descriptor, BLOCK, number * BLOCK) if data is None else data

    def _shared(self, descriptor: int, reader: int, number: int) -> bytes | None:
        """A block that is kept, or is read now for all; None for a reader that reads for itself."""
        with self._news:
            while (data := self._at_hand(reader, number)) is None:
                if self._hurry or reader not in self._at:
                    return None
                if not self._reading and number - min(self._at.values()) < _MOST_KEPT:
                    self._reading = True
                    break
                self._wait(reader)
        return self._from_disk(descriptor, number) if data is None else data

    def touch(self, reader: int) -> None:
        """This reader is at work, though it does not ask for the next block yet."""
        self._moved[reader] = time.monotonic()

    def leave(self, reader: int) -> None:
        """This reader needs no more, for whatever reason."""
        with self._news:
            self._at.pop(reader, None)
            self._forget()

    def hurry(self) -> None:
        """Nobody waits for anybody any more."""
        with self._news:
            self._hurry = True
            self._at.clear()
            self._forget()

    def feed(self, reader: int) -> Feed:
        """The file as one of the readers sees it."""
        return Feed(self, reader)

    def _at_hand(self, reader: int, number: int) -> bytes | None:
        """The block if it is kept. Notes where the reader is; one that begins anew, behind what is kept, is alone."""
        data = self._kept.get(number)
        before = self._at.get(reader)
        if before is not None:
            if data is None and number < self._front:
                del self._at[reader]
            else:
                self._at[reader] = number
            if number != before:
                self._moved[reader] = time.monotonic()
                self._forget()
        return data

    def _wait(self, reader: int) -> None:
        """Wait for news, and leave behind who has kept this reader waiting for too long."""
        if self._reading:
            self._news.wait()
            return
        begin = time.monotonic()
        last = min(self._at.values())
        slow = [other for other, at in self._at.items() if at == last]
        for other in slow:
            self._moved[other] = self._moved[other] or begin
        left = self._most_wait_s - self._waited[reader]
        quiet = [other for other in slow if self._moved[other] + _PATIENCE_S <= begin]
        if left > 0 and not quiet:
            patience = min(self._moved[other] for other in slow) + _PATIENCE_S - begin
            self._news.wait(min(left, patience))
            self._waited[reader] += time.monotonic() - begin
            return
        for other in quiet or slow:
            del self._at[other]
        self._forget()

    def _from_disk(self, descriptor: int, number: int) -> bytes:
        """Read the next block for all, outside the lock."""
        data: bytes | None = None
        try:
            data = os.pread(descriptor, BLOCK, number * BLOCK)
            return data
        finally:
            with self._news:
                self._reading = False
                if data is not None:
                    self.reads += bool(data)
                    self._front = number + 1
                    self._kept[number] = data
                    self._forget()

    def _forget(self) -> None:
        """Let go of what everybody has passed."""
        slowest = min(self._at.values(), default=None)
        for number in [n for n in self._kept if slowest is None or n < slowest]:
            del self._kept[number]
        self._news.notify_all()


class Feed:
    """A `SharedRead` from the place of one reader."""

    def __init__(self, shared: SharedRead, reader: int) -> None:
        self._shared = shared
        self._reader = reader

    def read(self, descriptor: int, view: memoryview, at: int) -> int:
        """As `SharedRead.read`."""
        return self._shared.read(descriptor, self._reader, view, at)

    def blocks(self, descriptor: int) -> Iterator[bytes]:
        """The whole file block by block, none of them empty. Raises `OSError`."""
        number = 0
        while data := self._shared.block(descriptor, self._reader, number):
            yield data
            number += 1

    def touch(self) -> None:
        """As `SharedRead.touch`."""
        self._shared.touch(self._reader)

    def leave(self) -> None:
        """As `SharedRead.leave`."""
        self._shared.leave(self._reader)
