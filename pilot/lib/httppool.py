"""HTTP connections that are kept: one pool for each origin, sockets that can be woken from another thread."""

from __future__ import annotations

import contextlib
import functools
import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from urllib.parse import SplitResult, urlsplit

import msgspec

from pilot.lib.tls import client_context

#: URL schemes as the field writes them -> whether they mean TLS.
SECURE = {"http": False, "dav": False, "webdav": False, "https": True, "davs": True, "webdavs": True}


class Tls(msgspec.Struct, frozen=True):
    """How the other side is checked and who we are: a CA file or directory and a PEM with certificate and key."""

    ca_path: str = ""
    certificate: str = ""
    verify: bool = True


class BadTls(OSError):
    """A certificate, key or CA file of ours cannot be used; names it."""


class Origin(msgspec.Struct, frozen=True):
    """Where a connection leads: TLS or not, host, port."""

    secure: bool
    host: str
    port: int


def split(url: str) -> tuple[Origin, str]:
    """The origin of a URL and the request target. Raises `ValueError`: another scheme, no host or port that can be."""
    try:
        parts: SplitResult = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        host.encode("idna")
    except ValueError as error:
        raise ValueError(f"{url} is no web address: {error}") from error
    scheme = parts.scheme.lower()
    if scheme not in SECURE or not host:
        raise ValueError(f"{url} is no web address")
    secure = SECURE[scheme]
    path = parts.path or "/"
    return Origin(secure, host, port or (443 if secure else 80)), path + (f"?{parts.query}" if parts.query else "")


class Connection:
    """One connection, with or without TLS. `abort` may be called from any thread at any time.

    `used` tells that it has served a request: then its silent end may only mean that the server closed it.
    """

    def __init__(self, origin: Origin, context: ssl.SSLContext | None, connect_s: float, via: Origin | None) -> None:
        self.origin = origin
        self.via = via
        self.used = False
        self.sock: socket.socket | None = None
        self._connect_s = connect_s
        self._context = context
        self._aborted = False

    def connect(self) -> socket.socket:
        """Open the socket; afterwards every read and write has the time limit that `limit` sets. Raises `OSError`."""
        place = self.via or self.origin
        error: OSError | None = None
        for family, kind, number, _, address in socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM):
            raw = socket.socket(family, kind, number)
            raw.settimeout(self._connect_s)
            self.sock = raw
            try:
                if self._aborted:
                    raise ConnectionAbortedError("told to stop")
                raw.connect(address)
                raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if self._context is not None:
                    self.sock = self._context.wrap_socket(raw, server_hostname=self.origin.host)
                return self.sock
            except OSError as wrong:
                error = wrong
                self.close()
                if isinstance(wrong, ssl.SSLError) or self._aborted:
                    break
        raise error or OSError(f"{place.host} has no address")

    def limit(self, seconds: float) -> None:
        """The longest time in s that one read or write may take from now on."""
        if self.sock is not None:
            self.sock.settimeout(max(0.01, seconds))

    def abort(self) -> None:
        """Wake whoever reads, writes or connects; the connection is of no use afterwards."""
        self._aborted = True
        if (sock := self.sock) is not None:
            with contextlib.suppress(OSError):
                # Not the method of a TLS socket: it would have a reading thread go on in plain text.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the socket; safe to call twice."""
        if self.sock is not None:
            self.sock.close()
            self.sock = None


class Pool:
    """Idle connections by origin. Threads: any.

    `proxy` names, for an origin, the proxy that leads there (plain HTTP only), or None.
    """

    def __init__(self, tls: Tls, connect_s: float, proxy: Callable[[Origin], Origin | None] | None = None) -> None:
        self._tls = tls
        self._connect_s = connect_s
        self._proxy = proxy or (lambda origin: None)
        self._idle: dict[Origin, list[Connection]] = {}
        self._guard = threading.Lock()

    def take(self, origin: Origin, fresh: bool = False) -> Connection:
        """A connection of the caller's own until `give`; `fresh` asks for one that has not been used."""
        with self._guard:
            idle = self._idle.get(origin)
            if idle and not fresh:
                return idle.pop()
        via = None if origin.secure else self._proxy(origin)
        return Connection(origin, self.context if origin.secure else None, self._connect_s, via)

    def give(self, connection: Connection) -> None:
        """Back into the pool: the answer has been read to its end."""
        connection.used = True
        with self._guard:
            self._idle.setdefault(connection.origin, []).append(connection)

    def close(self) -> None:
        """Close all that is idle."""
        with self._guard:
            idle, self._idle = [c for some in self._idle.values() for c in some], {}
        for connection in idle:
            connection.close()

    @functools.cached_property
    def context(self) -> ssl.SSLContext:
        """TLS as asked for. Raises `BadTls` for files that cannot be used."""
        context = client_context()
        path = self._tls.ca_path
        if path:
            with _using(path, "holds no certificates of authorities"):
                context.load_verify_locations(**({"capath": path} if os.path.isdir(path) else {"cafile": path}))
        if not self._tls.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        # A proxy certificate ends in a certificate that is no CA of the server's store: RFC 3820.
        context.verify_flags |= getattr(ssl, "VERIFY_ALLOW_PROXY_CERTS", 0)
        context.verify_flags &= ~getattr(ssl, "VERIFY_X509_STRICT", 0)
        if self._tls.certificate:
            with _using(self._tls.certificate, "holds no certificate with its key"):
                context.load_cert_chain(self._tls.certificate)
        return context


@contextlib.contextmanager
def _using(path: str, wrong: str) -> Iterator[None]:
    try:
        yield
    except ssl.SSLError as error:
        raise BadTls(f"{path} {wrong}") from error
    except OSError as error:
        raise BadTls(f"{path}: {error.strerror}") from error
