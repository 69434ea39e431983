"""The two ways to the pilot: ZeroMQ, and a stream of lines for a Python without it."""

from __future__ import annotations

import contextlib
import os
import select
import socket
from typing import Any

MAX_PATH = 107  #: bytes of a local socket's path (sun_path without its end)


class PilotGone(ConnectionError):
    """The pilot has ended, or never listened at the endpoint: no outcome can be told any more."""


def short_path(path: str) -> str:
    """The path, or the same file by way of an open directory where the path is too long for a socket.

    The directory's descriptor stays open as long as the process lives: a reconnection uses the name again.
    """
    if len(os.fsencode(path)) <= MAX_PATH:
        return path
    directory = os.open(os.path.dirname(path), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    return "/proc/self/fd/%d/%s" % (directory, os.path.basename(path))  # noqa: UP031 - the oldest Python it must run on


def connect(endpoint: str) -> Any:
    """A connection to the pilot: by ZeroMQ, else by lines over the socket beside it."""
    scheme, _, path = endpoint.partition("://")
    try:
        return ZmqWire("ipc://" + short_path(path) if scheme == "ipc" else endpoint)
    except ImportError as error:
        if scheme != "ipc":
            raise PilotGone("the channel of event ranges at " + endpoint + " needs pyzmq") from error
        return LineWire(os.path.splitext(path)[0] + ".sock")


class ZmqWire:
    """A DEALER socket; one frame holds one or several lines."""

    def __init__(self, endpoint: str) -> None:
        import zmq

        self._zmq = zmq
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.LINGER, 5000)
        self._watch = self._socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        self._socket.connect(endpoint)

    def send(self, data: bytes) -> None:
        """Hand the lines over."""
        self._socket.send(data)

    def receive(self, wake: int, seconds: float | None) -> list[bytes]:
        """The lines that have come; waits for some, for `wake` to be readable, or for the time to pass."""
        zmq = self._zmq
        if not self._socket.getsockopt(zmq.EVENTS) & zmq.POLLIN:
            poller = zmq.Poller()
            for source in (self._socket, self._watch, wake):
                poller.register(source, zmq.POLLIN)
            ready = dict(poller.poll(None if seconds is None else seconds * 1000))
            if self._watch in ready and self._socket not in ready:
                self._socket.setsockopt(zmq.LINGER, 0)
                raise PilotGone("the pilot has closed the channel of event ranges")
        lines: list[bytes] = []
        with contextlib.suppress(zmq.Again):
            while True:
                lines.extend(self._socket.recv(zmq.NOBLOCK).splitlines())
        return lines

    def close(self) -> None:
        """Send what is left and let go."""
        self._socket.disable_monitor()
        self._watch.close()
        self._socket.close()
        self._context.term()


class LineWire:
    """A local stream socket; each line ends with a newline."""

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._rest = b""
        try:
            self._socket.connect(short_path(path))
        except OSError as error:
            raise PilotGone("no pilot listens at " + path) from error

    def send(self, data: bytes) -> None:
        """Hand the lines over."""
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise PilotGone("the pilot has closed the channel of event ranges") from error

    def receive(self, wake: int, seconds: float | None) -> list[bytes]:
        """The lines that have come; waits for some, for `wake` to be readable, or for the time to pass."""
        ready, _, _ = select.select([self._socket.fileno(), wake], [], [], seconds)
        if self._socket.fileno() not in ready:
            return []
        data = self._socket.recv(1 << 16)
        if not data:
            raise PilotGone("the pilot has closed the channel of event ranges")
        *lines, self._rest = (self._rest + data).split(b"\n")
        return lines

    def close(self) -> None:
        """Let go."""
        self._socket.close()
