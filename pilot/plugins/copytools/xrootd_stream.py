"""A local file to an XRootD server through the client library, as blocks that other targets are fed from as well."""

from __future__ import annotations

import os
import threading
import time
from typing import Any

from pilot.plugins.copytools.base import Fault, Move, Moved, ToolError, Watch
from pilot.plugins.copytools.external import Stream
from pilot.plugins.copytools.webfile import open_source
from pilot.plugins.copytools.xrootd_words import fault_of

#: So many blocks may be on their way to the server at once.
_AT_ONCE = 8


def send_stream(client: Any, move: Move, watch: Watch) -> Moved:
    """Persist on successful close. Raises `ToolError`; then what had been written is removed, and only that."""
    source, size = open_source(move)
    try:
        stream = Stream(move, source, size, watch)
        file = _open(client, move, watch)
        writes = _Writes(file, move.target, watch)
        try:
            with watch.cancel.calling(writes.wake):
                for block in stream:
                    writes.write(block)
                writes.finish()
            closed, _ = file.close()
            if not closed.ok:
                raise fault_of(closed.message, put=True, url=move.target)
        except ToolError:
            # Before it is closed: a close would make the part of it that is there look like the whole.
            parts = client.URL(move.target)
            client.FileSystem(f"{parts.protocol}://{parts.hostid}").rm(parts.path)
            file.close()
            raise
        return stream.moved()
    finally:
        os.close(source)


def _open(client: Any, move: Move, watch: Watch) -> Any:
    from XRootD.client.flags import AccessMode, OpenFlags

    watch.check()
    file = client.File()
    flags = OpenFlags.MAKEPATH | OpenFlags.POSC | (OpenFlags.DELETE if move.overwrite else OpenFlags.NEW)
    mode = AccessMode.UR | AccessMode.UW | AccessMode.GR | AccessMode.OR
    opened, _ = file.open(move.target, flags, mode)
    if not opened.ok:
        raise fault_of(f"{opened.message} (destination)", put=True, url=move.target)
    return file


class _Writes:
    """The blocks that the server has not confirmed yet."""

    def __init__(self, file: Any, url: str, watch: Watch) -> None:
        self._file = file
        self._url = url
        self._watch = watch
        self._at = 0
        self._held: dict[int, bytes] = {}
        self._wrong = ""
        self._news = threading.Condition()

    def wake(self) -> None:
        """Stop waiting, from whatever thread."""
        with self._news:
            self._news.notify_all()

    def write(self, block: bytes) -> None:
        """Send one more. Raises `ToolError`."""
        self._wait(_AT_ONCE - 1)
        at = self._at
        self._at += len(block)
        self._held[at] = block  # the library sends from this very memory
        asked = self._file.write(block, at, len(block), callback=lambda status, *_: self._confirmed(at, status))
        if not asked.ok:
            self._confirmed(at, asked)

    def finish(self) -> None:
        """Wait until all are confirmed. Raises `ToolError`."""
        self._wait(0)

    def _confirmed(self, at: int, status: Any) -> None:
        with self._news:
            del self._held[at]
            self._wrong = self._wrong or ("" if status.ok else str(status.message))
            self._news.notify_all()

    def _wait(self, most: int) -> None:
        begin, before = time.monotonic(), len(self._held)
        with self._news:
            while len(self._held) > most and not self._wrong:
                self._watch.check()
                left = begin + min(self._watch.stall_s, self._watch.seconds_left) - time.monotonic()
                if left <= 0:
                    raise ToolError(Fault.STALLED, f"nothing was confirmed for {self._watch.stall_s:.0f} s")
                self._news.wait(left)
                if len(self._held) != before:
                    begin, before = time.monotonic(), len(self._held)
        if self._wrong:
            raise fault_of(f"{self._wrong} (destination)", put=True, url=self._url)
