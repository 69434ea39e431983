"""http, https and WebDAV (dav, davs): files over kept connections, resumed by range, hashed as they pass."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import ClassVar
from urllib.parse import urlsplit

from pilot.core.staging import ToolSettings
from pilot.lib.cancel import Cancel
from pilot.lib.checksum import Hasher, checksum_of
from pilot.lib.files import BLOCK
from pilot.lib.httpanswer import Answer, ProtocolError
from pilot.lib.httppool import Connection
from pilot.plugins.copytools.base import (
    Ability,
    Fault,
    Found,
    Move,
    Moved,
    ToolError,
    Watch,
    source_fault,
    target_fault,
)
from pilot.plugins.copytools.web import Web
from pilot.plugins.copytools.webwords import connection_fault, digests_of, parents, status_fault

#: Bodies from this size on are announced with `Expect`, so that a redirecting head node does not get them first.
_EXPECT_FROM = 1 << 20


class Http:
    """Files from and to web servers and WebDAV storages.

    Options: `proxy` (host:port of a cache for plain http; given up for good once it cannot be reached).
    """

    ability: ClassVar[Ability] = Ability(hashes=True, resumes=True, parallel=4)

    def __init__(self, settings: ToolSettings) -> None:
        self.settings = settings
        self._web = Web(settings)
        self._validators: dict[str, str] = {}
        self._directories: set[str] = set()

    def move(self, moves: Sequence[Move], watch: Watch) -> Iterator[Moved]:
        """One file after the other over one connection."""
        buffer = bytearray(BLOCK)
        for move in moves:
            watch.begin(move)
            try:
                if move.target[:1] == "/":
                    moved = self._get(move, watch, buffer)
                else:
                    moved = self._put(move, watch, buffer)
            except ToolError as error:
                if watch.cancel.is_set():
                    raise ToolError(Fault.CANCELLED) from error
                if error.fault is Fault.NETWORK and len(moves) > 1:
                    raise
                moved = Moved(fault=error.fault, detail=error.detail)
            yield moved

    # ---- to here ------------------------------------------------------------------------------------------------

    def _get(self, move: Move, watch: Watch, buffer: bytearray) -> Moved:
        hasher = Hasher(move.kinds)
        start = self._resumable(move, hasher)
        headers = {"Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
            if validator := self._validators.get(move.target):
                headers["If-Range"] = validator
        with self._web.asking("GET", move.source, watch.cancel, watch, headers) as answer:
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
            return self._get(move, watch, buffer)
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

    # ---- from here ----------------------------------------------------------------------------------------------

    def _put(self, move: Move, watch: Watch, buffer: bytearray) -> Moved:
        try:
            source = os.open(move.source, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise source_fault(error, move.source) from error
        try:
            size = os.fstat(source).st_size
            sender = _Sender(source, size, move, watch, buffer)
            answer = self._send(move, sender, watch)
            if answer.status in (404, 409) and self._make_parents(move.target, watch.cancel):
                answer = self._send(move, sender, watch)
        finally:
            os.close(source)
        if answer.status not in (200, 201, 202, 204):
            raise status_fault(answer.status, f"{move.target}: {answer.status} {answer.reason}", put=True)
        if sender.hasher is None:
            raise ToolError(Fault.SERVICE, f"{move.target}: the server never took the file's content")
        return Moved(size=size, checksums=sender.hasher.values(), checksum_seconds=sender.hasher.seconds)

    def _send(self, move: Move, sender: _Sender, watch: Watch) -> Answer:
        headers = {"Content-Length": str(sender.size)}
        if not move.overwrite:
            headers["If-None-Match"] = "*"
        if sender.size >= _EXPECT_FROM:
            headers["Expect"] = "100-continue"
        try:
            with self._web.asking("PUT", move.target, watch.cancel, watch, headers, sender) as answer:
                answer.excerpt()
                return answer
        except ToolError:
            if sender.hasher is not None:
                self._sweep(move.target)
            raise

    def _sweep(self, url: str) -> None:
        """Remove what a failed upload may have left; its own failure must not hide the upload's."""
        try:
            self.remove(url)
        except ToolError:
            pass

    def _make_parents(self, url: str, cancel: Cancel) -> bool:
        """Make the directories above a file, outermost first; False if that is known to be done."""
        made = False
        for directory in parents(url):
            if directory not in self._directories:
                with self._web.asking("MKCOL", directory, cancel) as answer:
                    answer.excerpt()
                self._directories.add(directory)
                made = True
        return made

    # ---- questions ----------------------------------------------------------------------------------------------

    def stat(self, url: str, cancel: Cancel | None = None) -> Found:
        """Size and checksums as the server tells them."""
        with self._web.asking("HEAD", url, cancel or Cancel(), None, {"Want-Digest": "adler32,md5"}) as answer:
            answer.excerpt()
            if answer.status != 200:
                raise status_fault(answer.status, f"{url}: {answer.status} {answer.reason}", put=False)
            return Found(answer.length, digests_of(answer.header("digest")), directory=url.endswith("/"))

    def remove(self, url: str, recursive: bool = False) -> None:
        """DELETE; a WebDAV server takes a collection away with all in it, so that must be asked for."""
        if not recursive and urlsplit(url).path.endswith("/"):
            raise ToolError(Fault.REFUSED, f"{url} is a directory")
        with self._web.asking("DELETE", url, Cancel()) as answer:
            answer.excerpt()
            if answer.status not in (200, 202, 204, 404, 410):
                raise status_fault(answer.status, f"{url}: {answer.status} {answer.reason}", put=True)

    def make_directory(self, url: str) -> None:
        """MKCOL for it and, outermost first, for those above it."""
        path = url if url.endswith("/") else url + "/"
        self._make_parents(path + "x", Cancel())

    def close(self) -> None:
        """Close all kept connections."""
        self._web.close()


class _Sender:
    """Writes a file as a request's body, from its beginning each time it is called; `hasher` is of the last time."""

    def __init__(self, source: int, size: int, move: Move, watch: Watch, buffer: bytearray) -> None:
        self.size = size
        self.hasher: Hasher | None = None
        self._source = source
        self._move = move
        self._watch = watch
        self._buffer = buffer

    def __call__(self, connection: Connection) -> None:
        self.hasher = Hasher(self._move.kinds)
        os.lseek(self._source, 0, os.SEEK_SET)
        view = memoryview(self._buffer)
        left = self.size
        while left:
            count = os.readv(self._source, (view[: min(left, len(view))],))
            if not count:
                raise ToolError(Fault.CUT, f"{self._move.source} got shorter while it was sent")
            block = view[:count]
            self.hasher.update(block)
            if connection.sock is None:
                raise BrokenPipeError("closed")
            connection.sock.sendall(block)
            left -= count
            self._watch.moved(count)


def _continues(answer: Answer, start: int) -> bool:
    return answer.header("content-range").replace(" ", "").lower().startswith(f"bytes{start}-")


def _write(target: int, block: memoryview, path: str) -> None:
    try:
        while block:
            block = block[os.write(target, block) :]
    except OSError as error:
        raise target_fault(error, path) from error
