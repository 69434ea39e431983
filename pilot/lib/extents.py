"""Parts of remote files: just these bytes, over HTTP, XRootD or from a local file, put at their places in a copy."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pilot.core.errors import CommunicationFailure, FileHandlingFailure, NoLocalSpace, PilotError, StageInFailed
from pilot.lib.files import is_full, local_path
from pilot.lib.http import Connection, HttpSettings

if TYPE_CHECKING:
    from pilot.lib.extents_xrootd import Reader

Extent = tuple[int, int]
"""The first byte and the number of bytes."""

_GAP = 64 * 1024
_PIECE = 64 * 1024 * 1024
_PUNCH_HOLE = 0x03  # FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")


def merged(extents: Iterable[Extent], gap: int = _GAP) -> list[Extent]:
    """The same bytes in as few pieces as possible; pieces closer than `gap` are one, for a request costs more."""
    found: list[list[int]] = []
    for first, count in sorted(extent for extent in extents if extent[1] > 0):
        if found and first <= found[-1][0] + found[-1][1] + gap:
            found[-1][1] = max(found[-1][1], first + count - found[-1][0])
        else:
            found.append([first, count])
    return [(first, count) for first, count in found]


def without(extents: Sequence[Extent], known: Sequence[Extent]) -> list[Extent]:
    """What of `extents` is not in `known`."""
    left = [(first, first + count) for first, count in extents]
    for first, count in known:
        cut: list[tuple[int, int]] = []
        for a, b in left:
            cut += [(x, y) for x, y in ((a, min(b, first)), (max(a, first + count), b)) if x < y]
        left = cut
    return [(a, b - a) for a, b in left]


def fetch(url: str, extents: Sequence[Extent], target: Path, size: int | None = None) -> int:
    """Put these bytes of the file at `url` at their places in `target`; how many there were.

    `target` is made if it is not there and has holes where nothing was fetched; `size` gives it its whole length.
    Raises `StageInFailed` for a scheme or a server without byte ranges, `CommunicationFailure`, `NoLocalSpace`.
    """
    total = 0
    try:
        read = _reader(url, target)
        descriptor = os.open(target, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            if size is not None and os.fstat(descriptor).st_size < size:
                os.truncate(descriptor, size)
            for first, count in _pieces(extents):
                total += _put(descriptor, read(first, count), first)
        finally:
            os.close(descriptor)
            read.close()
    except OSError as error:
        kind = NoLocalSpace if is_full(error) else FileHandlingFailure
        raise kind(f"{target}: {error.strerror}") from error
    return total


def drop(target: Path, extents: Sequence[Extent]) -> bool:
    """Give the room of these bytes back to the disk: they are holes again. False where the file system cannot."""
    import ctypes

    call = ctypes.CDLL(None, use_errno=True).fallocate
    call.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    descriptor = os.open(target, os.O_RDWR | os.O_CLOEXEC)
    try:
        return all(call(descriptor, _PUNCH_HOLE, first, count) == 0 for first, count in extents)
    finally:
        os.close(descriptor)


def _pieces(extents: Iterable[Extent]) -> Iterator[Extent]:
    """The same in pieces that fit into memory."""
    for first, count in extents:
        for at in range(first, first + count, _PIECE):
            yield at, min(_PIECE, first + count - at)


def _put(descriptor: int, data: bytes, first: int) -> int:
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, first)
        view, first = view[written:], first + written
    return len(data)


class _Local:
    def __init__(self, path: str) -> None:
        self._path = path

    def __call__(self, first: int, count: int) -> bytes:
        with open(self._path, "rb") as file:
            file.seek(first)
            return file.read(count)

    def close(self) -> None:
        """Nothing is held."""


class _Http:
    def __init__(self, url: str) -> None:
        self._url = url
        self._connection = Connection(HttpSettings())

    def __call__(self, first: int, count: int) -> bytes:
        head = {"Range": f"bytes={first}-{first + count - 1}", "Accept-Encoding": "identity"}
        reply = self._connection.exchange("GET", self._url, headers=head)
        if reply.status == 416:
            return b""
        given = _RANGE.fullmatch(reply.headers.get("content-range", ""))
        if reply.status == 200:
            raise StageInFailed(f"{self._url}: the server does not give parts of files")
        if reply.status != 206 or given is None or int(given[1]) != first:
            kind: type[PilotError] = CommunicationFailure if reply.status >= 500 else StageInFailed
            raise kind(f"{self._url}: {reply.status} {reply.text()}")
        return reply.body[:count]

    def close(self) -> None:
        """Let go of the connection."""
        self._connection.close()


def _reader(url: str, target: Path) -> Reader:
    scheme = url.partition("://")[0].lower()
    if scheme in ("http", "https", "dav", "davs"):
        return _Http(url.replace("davs://", "https://").replace("dav://", "http://"))
    if scheme in ("root", "xroot", "roots"):
        from pilot.lib.extents_xrootd import reader

        return reader(url, target)
    path = local_path(url)
    if path is None:
        raise StageInFailed(f"{url}: parts of such files cannot be fetched")
    return _Local(path)
