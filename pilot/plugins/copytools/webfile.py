"""Files from and to web addresses: resumed by range, hashed as they pass, never of another length than announced."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Mapping
from typing import Protocol

from pilot.lib.checksum import Hasher, checksum_of
from pilot.lib.httpanswer import Answer, ProtocolError
from pilot.lib.httppool import Connection
from pilot.plugins.copytools.base import Fault, Move, Moved, ToolError, Watch, not_plain, source_fault, target_fault
from pilot.plugins.copytools.web import Web
from pilot.plugins.copytools.webwords import connection_fault, digests_of, plain_refusal, seconds_to_wait

Refusal = Callable[[int, str, str, bool], ToolError]

#: Bodies from this size on are announced with `Expect`, so that a redirecting head node does not get them first.
_EXPECT_FROM = 1 << 20
_RANGE = re.compile(r"\s*bytes[ =]*(\d+)-\d+/(\d+|\*)\s*$", re.IGNORECASE)
#: Files of these names are meant to be packed, whatever the server says of it.
_PACKED = (".gz", ".tgz", ".bz2", ".xz", ".zst", ".br", ".Z")


class WebFiles:
    """Fetches and sends through one `Web`. An address may hold what is secret: messages name the ends of the `Move`.

    `refusal` makes the fault of an answer: of its status, its body, a line for a person and whether it was a PUT.
    `encoded`: the service keeps an encoding as a property of files, which are still to be had as they were sent.
    """

    def __init__(self, web: Web, refusal: Refusal = plain_refusal, encoded: bool = False) -> None:
        self._web = web
        self._refusal = refusal
        self._encoded = encoded
        self._validators: dict[str, str] = {}

    def get(
        self, url: str, move: Move, watch: Watch, buffer: bytearray, more: Mapping[str, str] | None = None
    ) -> Moved:
        """Fetch into the local target of `move`. Raises `ToolError`."""
        hasher = Hasher(move.kinds)
        start = self._resumable(move, hasher)
        version = self._validators.get(move.target, "") if start else ""
        headers = {"Accept-Encoding": "identity", **(more or {})}
        if start:
            headers["Range"] = f"bytes={start}-"
            if version:
                headers["If-Range"] = version
        with self._web.asking("GET", url, watch.cancel, watch, headers) as answer:
            if not start or not _wants_anew(answer, start, version):
                self._check_answer(answer, move, start)
                if answer.status == 200 and start:
                    start, hasher = 0, Hasher(move.kinds)
                self._validators[move.target] = _version(answer)
                size = start + self._receive(answer, move, start, hasher, watch, buffer)
                self._validators.pop(move.target, None)
                return _compared(answer, move, Moved(size, hasher.values(), hasher.seconds, resumed=start > 0))
        os.truncate(move.target, 0)
        return self.get(url, move, watch, buffer, more)

    def _check_answer(self, answer: Answer, move: Move, start: int) -> None:
        """Raise `ToolError` for an answer that does not bring the file."""
        if answer.status not in (200, 206):
            raise self.refused(answer, answer.excerpt(), move.source, put=False)
        if answer.status == 206 and not start:
            raise ToolError(Fault.SERVICE, f"{move.source}: the server sends a part of the file for the whole of it")
        encoding = answer.header("content-encoding").lower()
        told = self._encoded or move.checksums or move.size is not None or move.source.endswith(_PACKED)
        if encoding not in ("", "identity") and not told:
            raise ToolError(Fault.UNSUPPORTED, f"{move.source}: the server sends it {encoding}-encoded, unasked")

    def refused(self, answer: Answer, body: str, end: str, put: bool) -> ToolError:
        """The fault of an answer that is a refusal, with what the server says of coming back."""
        error = self._refusal(answer.status, body, f"{end}: {answer.status} {answer.reason}".rstrip(), put)
        error.wait_s = seconds_to_wait(answer.header("retry-after"))
        return error

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
        whole = _whole(answer, start)
        if None not in (whole, move.size) and whole != move.size:
            raise ToolError(Fault.CORRUPT, f"{move.source} has {whole} bytes instead of {move.size}: not fetched")
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
        came, wanted = start + answer.taken, move.size if whole is None else whole
        if wanted is not None and (came < wanted or (whole is not None and came > wanted)):
            raise ToolError(Fault.CUT, f"{move.source}: {came} of {wanted} bytes came")
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
            try:
                if self._feed is not None:
                    count = self._feed.read(self._source, space, at)
                else:
                    count = os.preadv(self._source, (space,), at)
            except OSError as error:
                raise ToolError(Fault.BROKEN, f"the file cannot be read: {error.strerror}") from error
            if not count:
                raise ToolError(Fault.CUT, "the file got shorter while it was sent")
            block = view[:count]
            self.hasher.update(block)
            if connection.sock is None:
                raise BrokenPipeError("closed")
            connection.sock.sendall(block)
            at += count
            self._watch.moved(count)


def _range(answer: Answer) -> tuple[int, int | None] | None:
    """Where the part of an answer begins and how long the whole is (None: untold); None where it does not say."""
    found = _RANGE.match(answer.header("content-range"))
    return found and (int(found[1]), None if found[2] == "*" else int(found[2]))


def _wants_anew(answer: Answer, start: int, version: str) -> bool:
    """Whether the file must be fetched from its beginning: the server has another version, or gives another part."""
    if answer.status != 206:
        return answer.status == 416
    told = _range(answer)
    return told is None or told[0] != start or (version[:1] == '"' and _version(answer) not in ("", version))


def _version(answer: Answer) -> str:
    """What tells this version of the file from others, byte for byte."""
    etag = answer.header("etag")
    return etag if etag[:1] == '"' else answer.header("last-modified")


def _whole(answer: Answer, start: int) -> int | None:
    """How long the file is, as far as the answer tells."""
    told = _range(answer) if answer.status == 206 else None
    if told is not None and told[1] is not None:
        return told[1]
    return None if answer.length is None else start + answer.length


def _compared(answer: Answer, move: Move, moved: Moved) -> Moved:
    """The result, or its fault where the server's own checksum is another and nobody knows better."""
    if answer.status == 200 and not move.checksums:
        for kind, value in digests_of(answer.header("digest")).items():
            mine = moved.checksums.get(kind, value)
            if mine != value:
                detail = f"{move.source}: {kind} {mine} instead of {value}"
                return Moved(moved.size, fault=Fault.DAMAGED, detail=detail, kind=kind)
    return moved


def _write(target: int, block: memoryview, path: str) -> None:
    try:
        while block:
            block = block[os.write(target, block) :]
    except OSError as error:
        raise target_fault(error, path) from error


def open_source(move: Move) -> tuple[int, int]:
    """A descriptor of the local source, and its size. Raises `ToolError`."""
    try:
        source = os.open(move.source, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        found = os.fstat(source)
    except OSError as error:
        raise source_fault(error, move.source) from error
    if not stat.S_ISREG(found.st_mode):
        os.close(source)
        raise not_plain(move.source)
    return source, found.st_size
