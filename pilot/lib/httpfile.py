"""One HTTP exchange at a time over kept connections: redirects followed, bodies streamed, lies about length found."""

from __future__ import annotations

import http.client
import select
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from email.message import Message
from socket import SocketIO
from urllib.parse import urljoin

from pilot.lib.cancel import Cancel
from pilot.lib.httppool import Connection, Origin, Pool, split

Body = Callable[[Connection], None]
Headers = Mapping[str, str] | Message
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MOST_REDIRECTS = 8
_SHORT = 16 * 1024
#: How long a server may think about `Expect: 100-continue` before the body is sent all the same, in s.
_PATIENCE_S = 1.0


class Answer:
    """The head of an answer; `read_into` gives the body. `length` is what the server announced, if it did."""

    def __init__(self, status: int, reason: str, headers: Headers, raw: http.client.HTTPResponse | None) -> None:
        self.status = status
        self.reason = reason
        self.headers = headers
        self._raw = raw
        self.taken = 0
        self._broken = False
        self.length = _length(headers)

    def header(self, name: str) -> str:
        """A header's value, empty if there is none."""
        return str(self.headers.get(name) or "")

    def read_into(self, buffer: bytearray | memoryview) -> int:
        """The next bytes of the body as they come, without waiting for the buffer to fill; 0 at its end."""
        raw = self._raw
        if raw is None or raw.isclosed():
            return 0
        if raw.chunked:
            count = raw.readinto(buffer)
        else:
            view = memoryview(buffer)
            count = raw.fp.readinto1(view if raw.length is None else view[: raw.length])
            if raw.length is not None:
                raw.length -= count
            if not count or raw.length == 0:
                self._broken = bool(raw.length)
                raw.close()
        self.taken += count
        return count

    def excerpt(self) -> str:
        """The beginning of the body as one line of text, for messages. A short body is read to its end."""
        if self._raw is None:
            return ""
        text = self._raw.read(_SHORT) if self._raw.length else self._raw.read()
        return " ".join(text.decode("utf-8", "replace").split())[:200]

    @property
    def whole(self) -> bool:
        """Whether the body has been read to its announced end."""
        return self._raw is None or (self._raw.isclosed() and not self._raw.will_close and not self._broken)


class TooManyRedirects(OSError):
    """A server sent us round in circles."""


@contextmanager
def exchange(
    pool: Pool,
    method: str,
    url: str,
    headers: Mapping[str, str],
    *,
    cancel: Cancel,
    stall_s: float,
    body: Body | None = None,
    secret: Mapping[str, str] | None = None,
) -> Iterator[Answer]:
    """Send a request and give the answer's head; the connection is kept if the body has been read to its end.

    `body` writes the request's body to a connection and may be called again for another server.
    `secret` holds headers that only go to the origin of `url`, and only over TLS. Raises `OSError` (timeouts and TLS
    errors among them) and `http.client.HTTPException`; setting `cancel` makes it raise at once.
    """
    home, _ = split(url)
    for _ in range(_MOST_REDIRECTS):
        origin, target = split(url)
        mine = {**headers, **secret} if secret and origin == home and origin.secure else dict(headers)
        connection, answer = _ask(pool, origin, target, method, mine, body, cancel, stall_s)
        place = answer.header("Location")
        if answer.status in _REDIRECTS and place:
            connection.close()
            url = urljoin(_plain(url), place)
            if answer.status == 303 and method != "HEAD":
                method, body = "GET", None
            continue
        try:
            with cancel.calling(connection.abort):
                yield answer
        finally:
            if answer.whole and answer.header("Connection").lower() != "close" and not cancel.is_set():
                pool.give(connection)
            else:
                connection.close()
        return
    raise TooManyRedirects(f"more than {_MOST_REDIRECTS} redirections, the last to {url}")


def _ask(
    pool: Pool,
    origin: Origin,
    target: str,
    method: str,
    headers: Mapping[str, str],
    body: Body | None,
    cancel: Cancel,
    stall_s: float,
) -> tuple[Connection, Answer]:
    """Send once; once more over a new connection if a kept one turns out to be dead."""
    connection = pool.take(origin)
    while True:
        try:
            with cancel.calling(connection.abort):
                return connection, _send(connection, method, target, headers, body, stall_s)
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
            connection.close()
            if not connection.used or cancel.is_set():
                raise
            connection = pool.take(origin, fresh=True)
        except BaseException:
            connection.close()
            raise


def _send(
    connection: Connection, method: str, target: str, headers: Mapping[str, str], body: Body | None, stall_s: float
) -> Answer:
    if connection.sock is None:
        connection.connect()
    connection.limit(stall_s)
    full = f"http://{connection.host}:{connection.port}{target}" if connection.via else target
    connection.putrequest(method, full, skip_accept_encoding=True)
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    if body is not None:
        if headers.get("Expect") and (early := _early_answer(connection)):
            return early
        try:
            body(connection)
        except (BrokenPipeError, ConnectionResetError):
            # The server may have refused the body: then its answer tells why, and is the better news.
            pass
    raw = connection.getresponse()
    return Answer(raw.status, raw.reason, raw.headers, raw)


def _early_answer(connection: Connection) -> Answer | None:
    """The final answer to a request whose body was not sent yet, or None when the body is wanted."""
    sock = connection.sock
    waiting = sock.pending() if isinstance(sock, ssl.SSLSocket) else 0
    if not waiting and not select.select([sock], [], [], _PATIENCE_S)[0]:
        return None
    head = sock.makefile("rb", buffering=0)
    words = _line(head).split(None, 2)
    headers = http.client.parse_headers(_Lines(head))
    if len(words) < 2 or not words[1].isdigit():
        raise http.client.BadStatusLine(" ".join(words))
    if words[1] == "100":
        return None
    connection.close()
    return Answer(int(words[1]), words[2] if len(words) > 2 else "", headers, None)


class _Lines:
    """An unbuffered stream as `parse_headers` wants it: nothing beyond the head may be taken from the socket."""

    def __init__(self, raw: SocketIO) -> None:
        self._raw = raw

    def readline(self, limit: int = 65537) -> bytes:
        return _line(self._raw, limit).encode("iso-8859-1")


def _line(raw: SocketIO, limit: int = 65537) -> str:
    line = bytearray()
    while len(line) < limit:
        byte = raw.read(1) or b""
        line += byte
        if not byte or byte == b"\n":
            break
    return line.decode("iso-8859-1")


def _length(headers: Headers) -> int | None:
    text = str(headers.get("Content-Length") or "").strip()
    return int(text) if text.isdigit() else None


def _plain(url: str) -> str:
    """The URL with a scheme that the standard library joins."""
    scheme, _, rest = url.partition("://")
    origin, _ = split(url)
    return f"{'https' if origin.secure else 'http'}://{rest}" if scheme.lower() not in ("http", "https") else url
