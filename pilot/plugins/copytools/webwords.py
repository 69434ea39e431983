"""What web servers say, as faults; and where tokens, certificates and proxies for them come from."""

from __future__ import annotations

import base64
import binascii
import os
import ssl
import time
from collections.abc import Mapping
from urllib.parse import quote, urlsplit

from pilot.core.staging import ToolSettings
from pilot.lib.certificate import not_after
from pilot.lib.checksum import LENGTHS
from pilot.lib.httpanswer import ProtocolError
from pilot.lib.httpfile import LedAstray
from pilot.lib.httppool import SECURE, Origin
from pilot.plugins.copytools.base import Fault, ToolError

_GET = {401: Fault.DENIED, 403: Fault.DENIED, 404: Fault.MISSING, 410: Fault.MISSING, 408: Fault.SERVICE}
_PUT = {
    401: Fault.REFUSED,
    403: Fault.REFUSED,
    405: Fault.REFUSED,
    404: Fault.NO_DIRECTORY,
    409: Fault.NO_DIRECTORY,
    412: Fault.EXISTS,
    413: Fault.NO_SPACE,
    507: Fault.NO_SPACE,
    408: Fault.SERVICE,
}


def status_fault(status: int, detail: str, put: bool) -> ToolError:
    """The fault that a status means; 429 and 5xx pass, other refusals do not."""
    fault = (_PUT if put else _GET).get(status)
    if fault is None:
        fault = Fault.SERVICE if status == 429 or (status >= 500 and status != 501) else Fault.UNSUPPORTED
    return ToolError(fault, detail)


def connection_fault(error: Exception, url: str, started: bool) -> ToolError:
    """The fault of a connection that failed; `started`: after the answer had begun."""
    where = f"{urlsplit(url).scheme}://{urlsplit(url).netloc.rpartition('@')[2]}"
    if isinstance(error, ssl.SSLCertVerificationError):
        return ToolError(Fault.DENIED, f"{where}: the server's certificate is not trusted: {error.verify_message}")
    if isinstance(error, ssl.SSLError):
        text = str(error.reason or error).lower()
        if "expired" in text:
            return ToolError(Fault.EXPIRED, f"{where} says that our certificate has expired")
        if "alert" in text and ("certificate" in text or "unknown_ca" in text or "unknown ca" in text):
            return ToolError(Fault.DENIED, f"{where} refuses our certificate: {error.reason}")
        return ToolError(Fault.NETWORK, f"{where}: {error.reason or error}")
    if isinstance(error, TimeoutError):
        return ToolError(Fault.STALLED if started else Fault.TIMEOUT, f"{where}: no answer in time")
    if isinstance(error, ProtocolError):
        return ToolError(Fault.CUT if started else Fault.SERVICE, f"{where}: {type(error).__name__} {error}".strip())
    if isinstance(error, LedAstray):
        return ToolError(Fault.SERVICE, f"{where} redirects to nowhere: {error}")
    if isinstance(error, (ConnectionResetError, BrokenPipeError, ConnectionAbortedError)) and not started:
        return ToolError(Fault.SERVICE, f"{where} closed the connection without an answer")
    if isinstance(error, OSError) and not started:
        return ToolError(Fault.NETWORK, f"{where}: {error.strerror or error}")
    return ToolError(Fault.CUT, f"{where}: {error}")


def digests_of(header: str) -> dict[str, str]:
    """The checksums of a `Digest` header (RFC 3230): hexadecimal, or base64 for md5 and sha."""
    found: dict[str, str] = {}
    for part in header.split(","):
        name, equals, value = part.strip().partition("=")
        kind = {"sha-256": "sha256", "sha": "sha1"}.get(name.strip().lower(), name.strip().lower())
        if not equals or kind not in LENGTHS:
            continue
        value = value.strip()
        if len(value) != LENGTHS[kind] and LENGTHS[kind] > 8:
            try:
                value = base64.b64decode(value, validate=True).hex()
            except (binascii.Error, ValueError):
                continue
        value = value.lower().zfill(LENGTHS[kind])
        if len(value) == LENGTHS[kind]:
            found[kind] = value
    return found


def quoted(url: str) -> str:
    """The URL with everything quoted that may not stand in a request line; what is quoted already stays."""
    return quote(url, safe="%/:=&?~#+!$,;'@()*[]")


def parents(url: str) -> list[str]:
    """The URLs of the directories above a file, outermost first, each with a slash at its end."""
    parts = urlsplit(url)
    names = [name for name in parts.path.split("/")[:-1] if name]
    base = f"{parts.scheme}://{parts.netloc}/"
    return [base + "/".join(names[: i + 1]) + "/" for i in range(len(names))]


def usable_certificate(settings: ToolSettings, url: str) -> None:
    """Raise `ToolError` when the certificate that a secure URL needs cannot be read or has run out."""
    path = settings.proxy_file
    if not path or not SECURE.get(url.partition("://")[0].lower()):
        return
    try:
        end = not_after(path)
    except (OSError, ValueError) as error:
        raise ToolError(Fault.CREDENTIAL, f"certificate: {error}") from error
    if end <= time.time():
        raise ToolError(Fault.EXPIRED, f"{path} ended at {time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(end))}")


def read_token(settings: ToolSettings, url: str) -> str:
    """The bearer token for a secure URL, empty if there is none. Raises `ToolError` for a file that cannot be read."""
    if not SECURE.get(url.partition("://")[0].lower()):
        return ""
    if settings.token_file:
        try:
            with open(settings.token_file, encoding="ascii") as stream:
                return stream.read().strip()
        except (OSError, ValueError) as error:
            raise ToolError(Fault.CREDENTIAL, f"token file {settings.token_file}: {error}") from error
    return settings.environment.get("BEARER_TOKEN", "").strip() or _discovered(settings.environment)


def _discovered(environment: Mapping[str, str]) -> str:
    """The token where WLCG bearer token discovery looks: BEARER_TOKEN_FILE, the run-time directory, /tmp."""
    places = [environment.get("BEARER_TOKEN_FILE", "")]
    name = f"bt_u{os.geteuid()}"
    if directory := environment.get("XDG_RUNTIME_DIR"):
        places.append(os.path.join(directory, name))
    places.append(os.path.join("/tmp", name))
    for place in filter(None, places):
        try:
            with open(place, encoding="ascii") as stream:
                return stream.read().strip()
        except (OSError, ValueError):
            continue
    return ""


def route(settings: ToolSettings) -> tuple[Origin, ...]:
    """The proxies for plain http in order: the tool's option, then OSG_SQUID_LOCATION, then http_proxy."""
    words = settings.environment
    for text in (
        settings.options.get("http", {}).get("proxy", ""),
        words.get("OSG_SQUID_LOCATION", ""),
        words.get("http_proxy", ""),
    ):
        parts = urlsplit(text if "://" in text else f"http://{text}")
        if text and text.upper() != "UNAVAILABLE" and parts.hostname:
            return (Origin(False, parts.hostname, parts.port or 3128),)
    return ()
