"""Short exchanges with an HTTP server: one request, one whole answer, over a connection that is kept."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from pilot.core.errors import CertificateHasExpired, CommunicationFailure, PilotError, RequestRefused, ServerNotTrusted

if TYPE_CHECKING:
    from requests import Session

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
    """A kept connection. Calls from several threads take turns; the environment (proxies, netrc) is not looked at.

    A client certificate that was renewed on disk is used from the next request on.
    """

    def __init__(self, settings: HttpSettings) -> None:
        self._settings = settings
        self._session: Session | None = None
        self._stamp: object = None
        self._lock = threading.Lock()

    def exchange(
        self,
        method: str,
        url: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        read_s: float | None = None,
    ) -> Reply:
        """Send one request and return the answer, whatever its status.

        Raises `CommunicationFailure` when there is none (worth a retry), `ServerNotTrusted` when the server's
        certificate does not verify, `CertificateHasExpired` when ours is not taken for that reason.
        """
        import requests
        from urllib3.exceptions import HTTPError  # what reading an answer's body raises

        with self._lock:
            try:
                return self._exchange(method, url, body, dict(headers or {}), read_s)
            except (requests.RequestException, HTTPError, OSError, ValueError) as error:
                self._drop()
                raise translate(error, url) from error

    def _exchange(
        self, method: str, url: str, body: bytes | None, headers: dict[str, str], read_s: float | None
    ) -> Reply:
        settings = self._settings
        until = time.monotonic() + (read_s or settings.total_s)
        answer = self._open().request(
            method,
            url,
            data=body,
            headers=headers,
            timeout=(settings.connect_s, read_s or settings.silence_s),
            allow_redirects=False,
            stream=True,
        )
        with answer:
            pieces, length = [], 0
            while piece := answer.raw.read1(_BLOCK, decode_content=True):
                pieces.append(piece)
                length += len(piece)
                if length > settings.answer_limit:
                    raise ValueError(f"the answer is longer than {settings.answer_limit} bytes")
                if time.monotonic() > until:
                    raise TimeoutError(f"the answer was not complete in {read_s or settings.total_s:g} s")
            wanted = answer.headers.get("Content-Length")
            plain = "Content-Encoding" not in answer.headers
            if plain and wanted and wanted.isdecimal() and int(wanted) != length and method != "HEAD":
                raise ValueError(f"the answer ended after {length} of {wanted} bytes")
            return Reply(answer.status_code, {k.lower(): v for k, v in answer.headers.items()}, b"".join(pieces))

    def _open(self) -> Session:
        stamp = _stamp(self._settings.client_cert)
        if self._session is None or stamp != self._stamp:
            self._drop()
            self._session, self._stamp = _session(self._settings), stamp
        return self._session

    def _drop(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None

    def close(self) -> None:
        """Let go of the connection; a later exchange opens a new one."""
        with self._lock:
            self._drop()


def _session(settings: HttpSettings) -> Session:
    import requests

    session = requests.Session()
    session.trust_env = False
    session.headers["User-Agent"] = settings.user_agent
    if settings.via:
        session.proxies = {"http": settings.via, "https": settings.via}
    adapter = _adapter(settings)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


def _adapter(settings: HttpSettings) -> Any:
    """An adapter with our own TLS context: authorities from file and directory at once, and only those."""
    from requests.adapters import HTTPAdapter

    class Adapter(HTTPAdapter):
        context: Any = None

        def build_connection_pool_key_attributes(self, request: Any, verify: Any, cert: Any = None) -> Any:
            host, _ = super().build_connection_pool_key_attributes(request, verify, cert)
            if host.get("scheme") != "https":
                return host, {}
            # Made when the first https address comes: loading the authorities takes longer than a plain request.
            if self.context is None:
                self.context = tls_context(settings)
            return host, {"ssl_context": self.context}

        def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
            """Everything is in the context."""

    return Adapter(pool_connections=4, pool_maxsize=4, max_retries=0)


def tls_context(settings: HttpSettings) -> Any:
    """A client's TLS context. Raises `ServerNotTrusted` or `CertificateHasExpired` naming a file that does not load."""
    import ssl

    place = settings.ca_file or settings.ca_path
    try:
        context = ssl.create_default_context(cafile=settings.ca_file or None, capath=settings.ca_path or None)
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
