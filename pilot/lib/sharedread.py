"""One read of a file for several readers: what one of them has read lies ready for the others.

Each reader goes through the file from its beginning at its own pace. A block is read from disk once and kept until
all readers that are still at work have passed it. A reader that is far ahead waits for the others; one that waits too
long reads on by itself, so that a destination that hangs holds nobody up for ever.
"""

from __future__ import annotations

import os
import threading
import time

BLOCK = 1 << 20
_MOST_KEPT = 32
_PATIENCE_S = 5.0


class SharedRead:
    """A file that `readers` readers go through. `reads` counts the blocks that came from disk."""

    def __init__(self, path: str, readers: int) -> None:
        self.path = path
        self.reads = 0
        self._at = dict.fromkeys(range(readers), 0)
        self._kept: dict[int, bytes] = {}
        self._news = threading.Condition()

    def read(self, descriptor: int, reader: int, view: memoryview, at: int) -> int:
        """The bytes from `at` on into `view`, as many as one block has; 0 at the end. Raises `OSError`."""
        number, inside = divmod(at, BLOCK)
        data = self._block(descriptor, reader, number)
        piece = data[inside : inside + len(view)]
        view[: len(piece)] = piece
        return len(piece)

    def leave(self, reader: int) -> None:
        """This reader needs no more, for whatever reason."""
        with self._news:
            self._at.pop(reader, None)
            self._forget()

    def feed(self, reader: int) -> Feed:
        """The file as one of the readers sees it."""
        return Feed(self, reader)

    def _block(self, descriptor: int, reader: int, number: int) -> bytes:
        with self._news:
            if reader in self._at:
                self._at[reader] = number
                self._forget()
            end = time.monotonic() + _PATIENCE_S
            while number not in self._kept and len(self._kept) >= _MOST_KEPT:
                left = end - time.monotonic()
                if left <= 0:
                    break
                self._news.wait(left)
            kept = self._kept.get(number)
            if kept is not None:
                return kept
            data = os.pread(descriptor, BLOCK, number * BLOCK)
            self.reads += bool(data)
            if len(self._kept) < _MOST_KEPT and any(at <= number for other, at in self._at.items() if other != reader):
                self._kept[number] = data
            return data

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

    def leave(self) -> None:
        """As `SharedRead.leave`."""
        self._shared.leave(self._reader)
