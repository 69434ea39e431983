"""An HTTP answer as it comes: its head parsed, its body handed on without a copy where its length is known."""

from __future__ import annotations

import socket

import httptools

_HEAD = 64 * 1024
_SHORT = 16 * 1024
_LONGEST_HEAD = 256 * 1024


class ProtocolError(Exception):
    """What came is no HTTP."""


class Answer:
    """`begin` reads the head; `read_into` gives the body. `length` is what the server announced, if it did.

    `taken` counts the bytes of the body that were read; `text` is for whoever keeps what a short body said. Header
    names are in lower case.
    """

    def __init__(self, sock: socket.socket, method: str) -> None:
        self.status = 0
        self.reason = ""
        self.taken = 0
        self.text = ""
        self._sock = sock
        self._bare = method == "HEAD"
        self._reset()

    def _reset(self) -> None:
        self.headers: dict[str, str] = {}
        self.length: int | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._pending: list[memoryview] = []
        self._left: int | None = None
        self._headed = self._complete = self._until_end = self._dirty = False

    # ---- the parser's words -------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Something after the end of the body: the connection is out of step."""
        self._dirty = self._dirty or self._complete

    def on_status(self, reason: bytes) -> None:
        """The words behind the status."""
        self.reason = reason.decode("latin-1")

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header; several of one name are joined."""
        key, text = name.decode("latin-1").lower(), value.decode("latin-1").strip()
        self.headers[key] = f"{self.headers[key]}, {text}" if key in self.headers else text

    def on_headers_complete(self) -> None:
        """The head is over."""
        self._headed = True

    def on_body(self, data: bytes) -> None:
        """A piece of the body."""
        self._pending.append(memoryview(data))

    def on_message_complete(self) -> None:
        """The body is over."""
        self._complete = True

    # ---- ours ---------------------------------------------------------------------------------------------------

    def begin(self, early: bool = False) -> bool:
        """Read the head; with `early`, False if the server only wants the body. Raises `OSError`, `ProtocolError`."""
        while True:
            self._read_head()
            self.status = self._parser.get_status_code()
            if self.status >= 200:
                break
            rest = b"".join(self._pending)
            self._reset()
            if early and not rest:
                return False
        text = self.headers.get("content-length", "")
        self.length = int(text) if text.isdigit() else None
        if self._bare or self.status in (204, 304):
            self._complete, self._left = True, 0
        elif self.length is not None:
            self._left = self.length - sum(map(len, self._pending))
            self._complete = self._left <= 0
        elif "chunked" not in self.headers.get("transfer-encoding", "").lower():
            self._until_end, self._complete = True, False
        return True

    def _read_head(self) -> None:
        read = 0
        while not self._headed:
            data = self._sock.recv(_HEAD)
            if not data:
                raise ConnectionResetError("the server closed the connection without an answer")
            read += len(data)
            self._feed(data)
            if read > _LONGEST_HEAD and not self._headed:
                raise ProtocolError("the head of the answer does not end")

    def _feed(self, data: bytes | memoryview) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as error:
            raise ProtocolError("the server changes the protocol") from error
        except httptools.HttpParserError as error:
            if not self._complete:
                raise ProtocolError(str(error)) from error
            self._dirty = True

    def header(self, name: str) -> str:
        """A header's value, empty if there is none."""
        return self.headers.get(name, "")

    def read_into(self, buffer: bytearray | memoryview) -> int:
        """The next bytes of the body as they come, without waiting for the buffer to fill; 0 at its end.

        An end before the announced one is not an error here: compare `taken` with `length`.
        """
        view = memoryview(buffer)
        while True:
            if self._pending:
                piece = self._pending[0]
                count = min(len(piece), len(view))
                view[:count] = piece[:count]
                if count == len(piece):
                    self._pending.pop(0)
                else:
                    self._pending[0] = piece[count:]
                self.taken += count
                return count
            if self._complete:
                return 0
            if self._left is not None or self._until_end:
                return self._direct(view)
            data = self._sock.recv(len(view))
            if not data:
                raise ProtocolError("the body ends in the middle of a chunk")
            self._feed(data)

    def _direct(self, view: memoryview) -> int:
        """Bytes from the socket straight to their place: no more than belong to this body."""
        count = self._sock.recv_into(view if self._left is None else view[: self._left])
        if not count:
            self._complete = self._dirty = True
        elif self._left is not None:
            self._left -= count
            self._complete = self._left == 0
        self.taken += count
        return count

    def excerpt(self) -> str:
        """The beginning of the body as one line of text, for messages. A short body is read to its end."""
        text = bytearray()
        space = bytearray(4096)
        while len(text) < _SHORT and (count := self.read_into(space)):
            text += space[:count]
        return " ".join(text.decode("utf-8", "replace").split())[:200]

    @property
    def reusable(self) -> bool:
        """Whether the connection can take another request: the body is read to its end, and both sides go on."""
        going = self.headers.get("connection", "").lower()
        lasts = going != "close" and (going == "keep-alive" or self._parser.get_http_version() != "1.0")
        return self._complete and not self._pending and not self._dirty and not self._until_end and lasts
