"""One HTTP/1.1 exchange at a time over kept connections: redirects followed, dead connections replaced."""

from __future__ import annotations

import select
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import urljoin

from pilot.lib.cancel import Cancel
from pilot.lib.httpanswer import Answer, ProtocolError
from pilot.lib.httppool import Connection, Origin, Pool, split

Body = Callable[[Connection], None]
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MOST_REDIRECTS = 8
#: How long a server may think about `Expect: 100-continue` before the body is sent all the same, in s.
_PATIENCE_S = 1.0


class LedAstray(OSError):
    """A server sent us round in circles, or to one that cannot be reached; it is there itself."""


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
    own: Mapping[str, str] | None = None,
) -> Iterator[Answer]:
    """Send a request and give the answer's head; the connection is kept if the body has been read to its end.

    `body` writes the request's body to a connection and may be called again for another server.
    `own` holds headers that only go to the origin of `url`; `secret` those that also go over TLS alone. Raises
    `ValueError` for a URL that is no web address, `OSError` (timeouts and TLS errors among them) and `ProtocolError`;
    setting `cancel` makes it raise at once.
    """
    origin, target = split(url)
    home = origin
    for _ in range(_MOST_REDIRECTS):
        mine = {**headers, **(own or {})} if origin == home else dict(headers)
        if secret and origin == home and origin.secure:
            mine = {**secret, **mine}
        try:
            connection, answer = _ask(pool, origin, target, method, mine, body, cancel, stall_s)
        except (ssl.SSLError, TimeoutError):
            raise
        except OSError as error:
            if origin == home:
                raise
            raise LedAstray(f"{origin.host}:{origin.port}: {error.strerror or error}") from error
        place = answer.header("location")
        if answer.status in _REDIRECTS and place:
            connection.close()
            try:
                url = urljoin(_plain(url), place)
                origin, target = split(url)
            except ValueError as error:
                raise LedAstray(str(error)) from error
            if answer.status == 303 and method != "HEAD":
                method, body = "GET", None
            continue
        try:
            with cancel.calling(connection.abort):
                yield answer
        finally:
            if answer.reusable and not cancel.is_set():
                pool.give(connection)
            else:
                connection.close()
        return
    raise LedAstray(f"more than {_MOST_REDIRECTS} redirections, the last to {url}")


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
        except (ConnectionResetError, BrokenPipeError):
            connection.close()
            if not connection.used or cancel.is_set():
                raise
            connection = pool.take(origin, fresh=True)
        except BaseException:  # a connection in the middle of an answer must not go back to the pool; it goes on up
            connection.close()
            raise


def _send(
    connection: Connection, method: str, target: str, headers: Mapping[str, str], body: Body | None, stall_s: float
) -> Answer:
    sock = connection.sock or connection.connect()
    connection.limit(stall_s)
    answer = Answer(sock, method)
    sock.sendall(_head(connection, method, target, headers))
    if body is not None:
        if "Expect" in headers and _answers_first(connection) and answer.begin(early=True):
            return answer
        try:
            body(connection)
        except (BrokenPipeError, ConnectionResetError):
            # The server may have refused the body: then its answer tells why, and is the better news.
            pass
    answer.begin()
    return answer


def _head(connection: Connection, method: str, target: str, headers: Mapping[str, str]) -> bytes:
    origin = connection.origin
    host = f"[{origin.host}]" if ":" in origin.host else origin.host
    if origin.port != (443 if origin.secure else 80):
        host = f"{host}:{origin.port}"
    if connection.via:
        target = f"http://{host}{target}"
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", "User-Agent: pilot"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    text = "\r\n".join((*lines, "", ""))
    if text.count("\n") != len(lines) + 1:
        raise ProtocolError("a line break in a request's head")
    return text.encode("latin-1")


def _answers_first(connection: Connection) -> bool:
    """Whether the server says something before it has seen the body."""
    sock = connection.sock
    if sock is None:
        return False
    waiting = sock.pending() if isinstance(sock, ssl.SSLSocket) else 0
    return bool(waiting or select.select([sock], [], [], _PATIENCE_S)[0])


def _plain(url: str) -> str:
    """The URL with a scheme that the standard library joins."""
    scheme, _, rest = url.partition("://")
    origin, _ = split(url)
    return f"{'https' if origin.secure else 'http'}://{rest}" if scheme.lower() not in ("http", "https") else url
