"""A local stream socket for workers without ZeroMQ: JSON lines, or the classic texts with or without newlines."""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path

from pilot.core.errors import MessageHandlingFailure
from pilot.core.ranges import EventRange
from pilot.lib.loop import Loop
from pilot.runtime import eventtext
from pilot.runtime.eventpeer import Desk, Peer
from pilot.runtime.eventwire import Hello, parse
from pilot.runtime.socketpath import short_path

_PIECE = 1 << 16
_MAX_LINE = 1 << 20
_LINGER_S = 1.0


class LineSocket:
    """Listens at a path; every connection is a worker of the desk's job."""

    def __init__(self, loop: Loop, path: Path, desk: Desk, numbers: itertools.count[int]) -> None:
        self._loop = loop
        self._desk = desk
        self._path = path
        self._numbers = numbers
        self._connections: set[Connection] = set()
        path.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        directory, address = short_path(path)
        try:
            self._socket.bind(address)
        finally:
            if directory is not None:
                os.close(directory)
        self._socket.listen(128)
        loop.watch(self._socket.fileno(), self._accept)

    def close(self) -> None:
        """Stop listening; every worker that is still there is lost."""
        if self._socket.fileno() < 0:
            return
        self._loop.unwatch(self._socket.fileno())
        self._socket.close()
        self._path.unlink(missing_ok=True)
        for connection in list(self._connections):
            connection.close("the channel was closed")

    def _accept(self) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionAbortedError):
            accepted, _ = self._socket.accept()
            accepted.setblocking(False)
            credentials = accepted.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
            pid = int(struct.unpack("3i", credentials)[0])
            number = next(self._numbers)
            self._connections.add(Connection(self._loop, accepted, self._desk, number, pid, self._connections.discard))


class ClassicPeer(Peer):
    """A worker that speaks the text protocol. `ending` is what its own messages end with."""

    classic = True
    ending = b"\n"
    answered = False

    def give(self, ranges: list[EventRange]) -> None:
        self._answer(eventtext.answer(ranges))

    def no_more(self) -> None:
        self._answer(eventtext.NO_MORE)

    def _answer(self, text: str) -> None:
        self.answered = True
        self._send(text.encode() + self.ending)

    def ends_lines(self) -> None:
        """It ends its texts with newlines after all: its first one came in two pieces."""
        self.ending = b"\n"
        if self.answered:
            self._send(self.ending)

    def welcome(self) -> None:
        """The old protocol has no such word."""

    def farewell(self) -> None:
        """Nor this one."""

    def _say_refused(self, id: str, why: str) -> None:
        """Nor this one."""


class Connection:
    """One worker's stream. Its first bytes tell which protocol it speaks: JSON begins with a brace."""

    def __init__(
        self,
        loop: Loop,
        accepted: socket.socket,
        desk: Desk,
        number: int,
        pid: int,
        forget: Callable[[Connection], None],
    ) -> None:
        self._loop = loop
        self._socket = accepted
        self._desk = desk
        self._number = number
        self._pid = pid
        self._forget = forget
        self._peer: Peer | None = None
        self._rest = b""
        loop.watch(accepted.fileno(), self._read)

    def close(self, why: str) -> None:
        """Let go of the stream; the worker is lost."""
        if self._socket.fileno() < 0:
            return
        self._loop.unwatch(self._socket.fileno())
        self._socket.close()
        self._forget(self)
        if self._peer is not None:
            self._peer.lose(self._loop, why)

    def _read(self) -> None:
        try:
            data = self._socket.recv(_PIECE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._take(data)
        else:
            self.close("its worker left" if self._peer is not None and self._peer.left else "its worker died")

    def _take(self, data: bytes) -> None:
        classic = self._peer.classic if self._peer is not None else not (self._rest + data).lstrip().startswith(b"{")
        if classic:
            self._take_texts(data)
        else:
            *lines, self._rest = (self._rest + data).split(b"\n")
            for line in lines:
                self._take_line(line)
        if len(self._rest) > _MAX_LINE:
            self.close("its worker sent a line without end")

    def _take_line(self, line: bytes) -> None:
        try:
            message = parse(line)
        except MessageHandlingFailure as error:
            if self._peer is not None:
                self._peer.misunderstood(error)
            return
        if self._peer is not None:
            self._peer.hear(message)
        elif isinstance(message, Hello):
            self._join(Peer(self._number, self._desk, self._send, self._pid), message.worker)

    def _take_texts(self, data: bytes) -> None:
        """A worker that ends its texts with newlines may send them in any pieces; another sends each in one piece."""
        peer = self._peer
        if not isinstance(peer, ClassicPeer):
            data, self._rest = self._rest + data, b""
            if eventtext.is_begun(data):
                self._rest = data  # nobody can tell yet whether it ends its texts with newlines
                return
            peer = ClassicPeer(self._number, self._desk, self._send, self._pid)
            peer.ending = b"\n" if b"\n" in data else b""
            self._join(peer, "")
        elif not peer.ending and data.startswith(b"\n"):
            peer.ends_lines()
        if peer.ending:
            *lines, self._rest = (self._rest + data).split(b"\n")
            texts = [line.decode("utf-8", "replace") for line in lines]
        else:
            texts = eventtext.split(data.decode("utf-8", "replace"))
        for text in filter(None, (text.strip() for text in texts)):
            try:
                peer.hear(eventtext.parse(text))
            except MessageHandlingFailure as error:
                peer.misunderstood(error)

    def _join(self, peer: Peer, name: str) -> None:
        self._peer = peer
        peer.name = name or peer.name
        peer.watch(self._loop, self._ended)
        self._desk.joined(peer)
        peer.welcome()

    def _ended(self) -> None:
        """The process is gone; what it wrote before is still in the stream, up to its end."""
        if self._peer is not None:
            self._peer.unwatch(self._loop)
        self._loop.after(_LINGER_S, lambda: self.close("its worker died"))

    def _send(self, data: bytes) -> None:
        try:
            if self._socket.send(data) < len(data):
                self.close("its worker does not read what it asked for")
        except OSError:
            self.close("its worker died")
