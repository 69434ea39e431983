"""Short exchanges with an HTTP server: one request, one whole answer, over a connection that is kept."""

from __future__ import annotations

import http.client
import os
import select
import threading
import time
import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

import msgspec

from pilot.core.errors import CertificateHasExpired, CommunicationFailure, PilotError, RequestRefused, ServerNotTrusted
from pilot.lib.addresses import Dialer

if TYPE_CHECKING:
    import ssl

_BLOCK = 1 << 16


class HttpSettings(msgspec.Struct, frozen=True):
    """How to reach a server. Times in s; `ca_file` and `ca_path` empty: the authorities that the system trusts.

    `client_cert` is a PEM file with certificate and key, or a proxy. `answer_limit` is in bytes.
    """

    ca_file: str = ""
    ca_path: str = ""
    client_cert: str = ""
    client_key: str = ""
    via: str = ""
    connect_s: float = 20.0
    silence_s: float = 60.0
    total_s: float = 120.0
    answer_limit: int = 256 << 20
    user_agent: str = "pilot"


class Reply(msgspec.Struct, frozen=True):
    """What a server answered; header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def text(self, limit: int = 200) -> str:
        """The beginning of the body on one line, for a message."""
        return " ".join(self.body[: 4 * limit].decode("utf-8", "replace").split())[:limit]


class Connection:
    """A kept connection to one server after the other. Calls from several threads take turns.

    The environment (proxies, netrc) is not looked at. A client certificate that was renewed on disk is used from the
    next request on. Made of the standard library: it starts in a third of the time and memory of `requests`, and a
    pilot's first request is part of its start.
    """

    def __init__(self, settings: HttpSettings) -> None:
        self._settings = settings
        self._line: http.client.HTTPConnection | None = None
        self._of: object = None
        self._dialer = Dialer()
        self._lock = threading.Lock()

    def exchange(
        self,
        method: str,
        url: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        read_s: float | None = None,
    ) -> Reply:
        """Send one request and return the answer, whatever its status; redirects are not followed.

        Raises `CommunicationFailure` when there is none (worth a retry), `ServerNotTrusted` when the server's
        certificate does not verify, `CertificateHasExpired` when ours is not taken for that reason.
        """
        with self._lock:
            try:
                return self._exchange(method, url, body, dict(headers or {}), read_s)
            except (http.client.HTTPException, OSError, ValueError, zlib.error) as error:
                self._drop()
                self._dialer.blame()
                raise translate(error, url) from error

    def _exchange(
        self, method: str, url: str, body: bytes | None, headers: dict[str, str], read_s: float | None
    ) -> Reply:
        total_s = read_s or self._settings.total_s
        until = time.monotonic() + total_s
        parts = urlsplit(url)
        line = self._open(parts)
        assert line.sock is not None
        line.sock.settimeout(min(read_s or self._settings.silence_s, total_s))
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        if self._settings.via and parts.scheme == "http":
            target = f"http://{parts.netloc.rpartition('@')[2]}{target}"
        line.request(method, target, body, {"User-Agent": self._settings.user_agent, **headers})
        with line.getresponse() as answer:
            content = self._content(answer, method, until, total_s)
        if answer.will_close:
            self._drop()
        return Reply(answer.status, {name.lower(): value for name, value in answer.getheaders()}, content)

    def _content(self, answer: http.client.HTTPResponse, method: str, until: float, total_s: float) -> bytes:
        """The whole body, in bounded time and size; half of one is none."""
        pieces, length, limit = [], 0, self._settings.answer_limit
        while piece := answer.read1(_BLOCK):
            pieces.append(piece)
            length += len(piece)
            if length > limit:
                raise ValueError(f"the answer is longer than {limit} bytes")
            if time.monotonic() > until:
                raise TimeoutError(f"the answer was not complete in {total_s:g} s")
        wanted = answer.getheader("Content-Length") or ""
        if wanted.isdecimal() and int(wanted) != length and method != "HEAD":
            raise ValueError(f"the answer ended after {length} of {wanted} bytes")
        content = b"".join(pieces)
        if answer.getheader("Content-Encoding") == "gzip":
            content = zlib.decompressobj(16 + zlib.MAX_WBITS).decompress(content, limit)
        return content

    def _open(self, parts: SplitResult) -> http.client.HTTPConnection:
        """The connection to this server: the kept one if it still stands and our certificate is the same."""
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{parts.scheme}:// is no address of a web server")
        wanted = (parts.scheme, parts.hostname, parts.port, _stamp(self._settings.client_cert))
        if self._line is not None and (wanted != self._of or _hung_up(self._line)):
            self._drop()
        if self._line is None:
            line = _line(self._settings, parts)
            line._create_connection = self._dialer.dial  # type: ignore[attr-defined]
            try:
                line.connect()
            except BaseException:  # a half-open line is of no use to anybody; what it was goes on up
                line.close()
                raise
            self._line, self._of = line, wanted
        return self._line

    def _drop(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None

    def close(self) -> None:
        """Let go of the connection; a later exchange opens a new one."""
        with self._lock:
            self._drop()


def _line(settings: HttpSettings, parts: SplitResult) -> http.client.HTTPConnection:
    """A connection that is not open yet, through the proxy `via` if there is one."""
    host, port, secure = str(parts.hostname), parts.port, parts.scheme == "https"
    via = urlsplit(settings.via if "://" in settings.via else f"http://{settings.via}") if settings.via else None
    first, first_port = (str(via.hostname), via.port or 3128) if via else (host, port)
    if not secure:
        return http.client.HTTPConnection(first, first_port, timeout=settings.connect_s)
    line = http.client.HTTPSConnection(first, first_port, timeout=settings.connect_s, context=tls_context(settings))
    if via:
        line.set_tunnel(host, port or 443)
    return line


def _hung_up(line: http.client.HTTPConnection) -> bool:
    """Whether the other side has closed a connection that waits for its next request (or sent what nobody asked)."""
    if line.sock is None:
        return True
    poll = select.poll()
    poll.register(line.sock, select.POLLIN)
    return bool(poll.poll(0))


def tls_context(settings: HttpSettings) -> ssl.SSLContext:
    """A client's TLS context. Raises `ServerNotTrusted` or `CertificateHasExpired` naming a file that does not load."""
    from pilot.lib.tls import client_context

    place = settings.ca_file or settings.ca_path
    try:
        context = client_context(settings.ca_file, settings.ca_path)
    except OSError as error:
        raise ServerNotTrusted(f"the authorities in {place} cannot be loaded ({error})") from error
    if settings.client_cert:
        try:
            context.load_cert_chain(settings.client_cert, settings.client_key or None)
        except OSError as error:
            raise RequestRefused(f"{settings.client_cert} is no certificate with its key ({error})") from error
    return context


def translate(error: Exception, url: str) -> PilotError:
    """A failed exchange as an error of the tree. Of the URL only server and path are told."""
    parts = urlsplit(url)
    place = f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}{parts.path}"
    if isinstance(error, PilotError):
        return error
    text = str(error)
    if "CERTIFICATE_VERIFY_FAILED" in text or "doesn't match" in text:
        return ServerNotTrusted(f"{place} ({_reason(error)}); name its authority with --cacert or --capath")
    if "ALERT_CERTIFICATE_EXPIRED" in text.upper().replace(" ", "_"):
        return CertificateHasExpired(f"{place} did not take the client certificate")
    return CommunicationFailure(f"{place} ({_reason(error)})")


def _reason(error: BaseException) -> str:
    """The innermost cause, which says more than the layers around it."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _stamp(path: str) -> object:
    try:
        facts = os.stat(path) if path else None
    except OSError:
        return None
    return (facts.st_mtime_ns, facts.st_ino, facts.st_size) if facts else None
