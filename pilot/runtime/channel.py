"""The pilot's side of the payload channel: ZeroMQ, and beside it a local socket for lines and the classic texts.

Everything here runs in the thread of the loop it is given, for all jobs. A worker is known to be gone when its process
has ended (the kernel says which process a connection belongs to, whatever its container calls it) and its connection
is closed, so that nothing it said before is lost.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pilot.core.errors import MessageHandlingFailure, SetupFailure
from pilot.lib.loop import Loop
from pilot.runtime.eventlines import LineSocket
from pilot.runtime.eventpeer import Desk, Peer
from pilot.runtime.eventwire import Hello, parse, word_line
from pilot.runtime.socketpath import short_path

if TYPE_CHECKING:
    import zmq

ZMQ_NAME = "events.zmq"
LINE_NAME = "events.sock"

_ROUND = 500
_LINGER_S = 1.0


class Channel:
    """The sockets of all jobs. `open` and `close` belong to the loop's thread like everything else."""

    def __init__(self, loop: Loop) -> None:
        import zmq

        self._loop = loop
        self._context = zmq.Context()
        self._numbers = itertools.count(1)
        self._sockets: dict[str, tuple[ZmqSocket, LineSocket]] = {}

    def open(self, key: str, directory: Path, desk: Desk) -> None:
        """Listen in the job's directory (`events.zmq`, `events.sock`) on behalf of the job.

        Raises `SetupFailure` if that is not possible there.
        """
        try:
            zmq_socket = ZmqSocket(self._loop, self._context, directory / ZMQ_NAME, desk, self._numbers)
            self._sockets[key] = zmq_socket, LineSocket(self._loop, directory / LINE_NAME, desk, self._numbers)
        except OSError as error:
            raise SetupFailure(f"no channel for event ranges in {directory}: {error}") from error

    def close(self, key: str) -> None:
        """Stop listening for the job; its workers count as gone. Safe to call twice."""
        for socket in self._sockets.pop(key, ()):
            socket.close()

    def stop(self) -> None:
        """Close everything."""
        for key in list(self._sockets):
            self.close(key)
        self._context.term()


class ZmqSocket:
    """A ROUTER socket at a path of any length, its peers, and a monitor that tells of closed connections."""

    def __init__(
        self, loop: Loop, context: zmq.Context[Any], path: Path, desk: Desk, numbers: itertools.count[int]
    ) -> None:
        import zmq

        self._zmq = zmq
        self._loop = loop
        self._desk = desk
        self._numbers = numbers
        self._path = path
        self._peers: dict[bytes, Peer] = {}
        self._by_fd: dict[int, bytes] = {}
        self._overtaken: dict[int, int] = {}
        self._posted = False
        self._directory, address = short_path(path)
        path.unlink(missing_ok=True)
        self._socket = context.socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.LINGER, 200)
        self._socket.setsockopt(zmq.SNDHWM, 0)
        self._socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        self._monitor = self._socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        self._socket.bind(f"ipc://{address}")
        self._fds = [self._socket.getsockopt(zmq.FD), self._monitor.getsockopt(zmq.FD)]
        for fd in self._fds:
            loop.watch(fd, self._serve)
        self._serve()

    def close(self) -> None:
        """Stop listening; every peer that is still there is lost."""
        if self._socket.closed:
            return
        self._read(1_000_000)
        for fd in self._fds:
            self._loop.unwatch(fd)
        for peer in list(self._peers.values()):
            peer.lose(self._loop, "the channel was closed")
        self._socket.disable_monitor()
        self._monitor.close()
        self._socket.close()
        self._path.unlink(missing_ok=True)
        if self._directory is not None:
            os.close(self._directory)

    def _serve(self) -> None:
        """Take what has come, the peers' words before the news of their ends. The descriptors tell of changes only."""
        self._posted = False
        if self._socket.closed:
            return
        if self._read(_ROUND):
            self._post()
            return
        with contextlib.suppress(self._zmq.Again):
            while True:
                self._closed(int.from_bytes(self._monitor.recv_multipart(self._zmq.NOBLOCK)[0][2:6], "little"))
        if self._socket.getsockopt(self._zmq.EVENTS) & self._zmq.POLLIN:
            self._post()

    def _post(self) -> None:
        if not self._posted:
            self._posted = True
            self._loop.post(self._serve)

    def _read(self, limit: int) -> bool:
        """Take up to `limit` messages; whether there may be more."""
        for _ in range(limit):
            try:
                frames = self._socket.recv_multipart(self._zmq.NOBLOCK, copy=False)
            except self._zmq.Again:
                return False
            self._heard(frames[0].bytes, frames[-1])
        return True

    def _heard(self, identity: bytes, frame: zmq.Frame) -> None:
        for line in frame.bytes.splitlines():
            peer = self._peers.get(identity)
            try:
                message = parse(line)
            except MessageHandlingFailure as error:
                self._send(identity, word_line("refused", id="", why=str(error)))
                continue
            if peer is None and isinstance(message, Hello):
                self._join(identity, frame, message)
            elif peer is None:
                self._send(identity, word_line("refused", id="", why="the first message must be a hello"))
            else:
                peer.hear(message)

    def _join(self, identity: bytes, frame: zmq.Frame, hello: Hello) -> None:
        peer = Peer(next(self._numbers), self._desk, lambda data: self._send(identity, data), _process_of(frame))
        peer.name = hello.worker or peer.name
        fd = int(frame.get(self._zmq.SRCFD))
        if fd in self._by_fd:  # the number was used before: the news of that connection's end is still to come
            self._overtaken[fd] = self._overtaken.get(fd, 0) + 1
            self._drop(self._by_fd[fd])
        self._by_fd[fd] = identity
        self._peers[identity] = peer
        peer.watch(self._loop, lambda: self._ended(identity))
        self._desk.joined(peer)
        peer.welcome()

    def _ended(self, identity: bytes) -> None:
        """The process is gone. Its last words may still be on the way: they end with the news of its connection."""
        peer = self._peers.get(identity)
        if peer is None:
            return
        peer.unwatch(self._loop)
        self._loop.after(_LINGER_S, lambda: self._drop(identity))
        self._serve()

    def _closed(self, fd: int) -> None:
        if self._overtaken.get(fd):
            self._overtaken[fd] -= 1
            return
        identity = self._by_fd.pop(fd, None)
        if identity is not None:
            self._read(1_000_000)
            self._drop(identity)

    def _drop(self, identity: bytes) -> None:
        peer = self._peers.pop(identity, None)
        if peer is not None:
            peer.lose(self._loop, "its worker left" if peer.left else "its worker died")

    def _send(self, identity: bytes, data: bytes) -> None:
        with contextlib.suppress(self._zmq.ZMQError):  # it is gone, and the monitor will say so
            self._socket.send_multipart((identity, data), self._zmq.NOBLOCK)
        self._post()


def _process_of(frame: zmq.Frame) -> int:
    """The process that the kernel knows at the other end of a local connection; 0 if it is not seen from here."""
    try:
        return int(str(frame.get("Peer-Address")).rpartition(":")[2])
    except (OSError, ValueError):
        return 0
