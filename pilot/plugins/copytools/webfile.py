"""Files from and to web addresses: resumed by range, hashed as they pass, never of another length than announced."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Protocol

from pilot.lib.checksum import Hasher, checksum_of
from pilot.lib.httpanswer import Answer, ProtocolError
from pilot.lib.httppool import Connection
from pilot.plugins.copytools.base import Fault, Move, Moved, ToolError, Watch, source_fault, target_fault
from pilot.plugins.copytools.web import Web
from pilot.plugins.copytools.webwords import connection_fault, status_fault

#: Bodies from this size on are announced with `Expect`, so that a redirecting head node does not get them first.
_EXPECT_FROM = 1 << 20


class WebFiles:
    """Fetches and sends through one `Web`. An address may hold what is secret: messages name the ends of the `Move`."""

    def __init__(self, web: Web) -> None:
        self._web = web
        self._validators: dict[str, str] = {}

    def get(
        self, url: str, move: Move, watch: Watch, buffer: bytearray, more: Mapping[str, str] | None = None
    ) -> Moved:
        """Fetch into the local target of `move`. Raises `ToolError`."""
        hasher = Hasher(move.kinds)
        start = self._resumable(move, hasher)
        headers = {"Accept-Encoding": "identity", **(more or {})}
        if start:
            headers["Range"] = f"bytes={start}-"
            if validator := self._validators.get(move.target):
                headers["If-Range"] = validator
        with self._web.asking("GET", url, watch.cancel, watch, headers) as answer:
            if answer.status == 416 or (start and answer.status == 206 and not _continues(answer, start)):
                start, restart = 0, True
            else:
                restart = False
                if answer.status not in (200, 206):
                    answer.excerpt()
                    raise status_fault(answer.status, f"{move.source}: {answer.status} {answer.reason}", put=False)
                if answer.status == 200 and start:
                    start, hasher = 0, Hasher(move.kinds)
                self._validators[move.target] = answer.header("etag") or answer.header("last-modified")
                size = start + self._receive(answer, move, start, hasher, watch, buffer)
        if restart:
            os.truncate(move.target, 0)
            return self.get(url, move, watch, buffer, more)
        self._validators.pop(move.target, None)
        return Moved(size, hasher.values(), hasher.seconds, resumed=start > 0)

    def _resumable(self, move: Move, hasher: Hasher) -> int:
        """Bytes that are here already and may be kept: those of the same version, or what a checksum will judge."""
        if not move.resume or not (move.checksums or self._validators.get(move.target)):
            return 0
        try:
            size = os.stat(move.target).st_size
            if size and (move.size is None or size < move.size):
                begun = checksum_of(move.target, move.kinds)
                hasher.__dict__.update(begun.__dict__)
                return size
        except OSError:
            pass
        return 0

    def _receive(self, answer: Answer, move: Move, start: int, hasher: Hasher, watch: Watch, buffer: bytearray) -> int:
        """Write the body; raises `ToolError` when it is not as long as announced, before writing if that is known."""
        announced = answer.length
        if announced is not None and move.size is not None and start + announced != move.size:
            raise ToolError(
                Fault.CORRUPT, f"{move.source} has {start + announced} bytes instead of {move.size}: not fetched"
            )
        view = memoryview(buffer)
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | (0 if start else os.O_TRUNC)
        try:
            target = os.open(move.target, flags, 0o666)
        except OSError as error:
            raise target_fault(error, move.target) from error
        try:
            os.lseek(target, start, os.SEEK_SET)
            while count := self._next(answer, buffer, move.source):
                block = view[:count]
                hasher.update(block)
                _write(target, block, move.target)
                watch.moved(count)
            if move.fsync:
                os.fsync(target)
        finally:
            os.close(target)
        if announced is not None and answer.taken != announced:
            raise ToolError(Fault.CUT, f"{move.source}: {answer.taken} of {announced} bytes came")
        return answer.taken

    def _next(self, answer: Answer, buffer: bytearray, url: str) -> int:
        try:
            return answer.read_into(buffer)
        except (OSError, ProtocolError) as error:
            raise connection_fault(error, url, started=True) from error

    def put(
        self, url: str, sender: Sender, watch: Watch, more: Mapping[str, str] | None = None, overwrite: bool = True
    ) -> Answer:
        """Send a file, or a part of one; the server's answer, whatever it says. Raises `ToolError`."""
        headers = {"Content-Length": str(sender.size), **(more or {})}
        if not overwrite:
            headers["If-None-Match"] = "*"
        if sender.size >= _EXPECT_FROM:
            headers["Expect"] = "100-continue"
        with self._web.asking("PUT", url, watch.cancel, watch, headers, sender) as answer:
            answer.text = answer.excerpt()
            return answer


class Reader(Protocol):
    """Where the bytes of a local file come from, if not from the file itself."""

    def read(self, descriptor: int, view: memoryview, at: int) -> int:
        """The bytes from `at` of the file on into `view`, some at least; 0 at its end."""


class Sender:
    """Writes a file, or `size` bytes of it from `start` on, as a request's body: from the beginning at each call.

    `hasher` is of the last time; None as long as nobody wanted the body.
    """

    def __init__(
        self,
        source: int,
        start: int,
        size: int,
        kinds: tuple[str, ...],
        watch: Watch,
        buffer: bytearray,
        feed: Reader | None = None,
    ) -> None:
        self.size = size
        self.hasher: Hasher | None = None
        self._source = source
        self._start = start
        self._kinds = kinds
        self._watch = watch
        self._buffer = buffer
        self._feed = feed

    def __call__(self, connection: Connection) -> None:
        self.hasher = Hasher(self._kinds)
        view = memoryview(self._buffer)
        at, end = self._start, self._start + self.size
        while at < end:
            space = view[: min(end - at, len(view))]
            if self._feed is not None:
                count = self._feed.read(self._source, space, at)
            else:
                count = os.preadv(self._source, (space,), at)
            if not count:
                raise ToolError(Fault.CUT, "the file got shorter while it was sent")
            block = view[:count]
            self.hasher.update(block)
            if connection.sock is None:
                raise BrokenPipeError("closed")
            connection.sock.sendall(block)
            at += count
            self._watch.moved(count)


def _continues(answer: Answer, start: int) -> bool:
    return answer.header("content-range").replace(" ", "").lower().startswith(f"bytes{start}-")


def _write(target: int, block: memoryview, path: str) -> None:
    try:
        while block:
            block = block[os.write(target, block) :]
    except OSError as error:
        raise target_fault(error, path) from error


def open_source(move: Move) -> tuple[int, int]:
    """A descriptor of the local source, and its size. Raises `ToolError`."""
    try:
        source = os.open(move.source, os.O_RDONLY | os.O_CLOEXEC)
        return source, os.fstat(source).st_size
    except OSError as error:
        raise source_fault(error, move.source) from error
