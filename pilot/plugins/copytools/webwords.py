"""What web servers say, as faults; and where tokens, certificates and proxies for them come from."""

from __future__ import annotations

import base64
import binascii
import re
import ssl
import time
from collections.abc import Mapping
from urllib.parse import quote, urlsplit

from pilot.core.staging import ToolSettings
from pilot.lib.checksum import LENGTHS
from pilot.lib.credentials import BadCredential
from pilot.lib.httpanswer import ProtocolError
from pilot.lib.httpfile import LedAstray
from pilot.lib.httppool import SECURE, BadTls, Origin
from pilot.lib.tokens import certificate_trouble, token_of
from pilot.plugins.copytools.base import Fault, ToolError

_GET = {401: Fault.DENIED, 403: Fault.DENIED, 404: Fault.MISSING, 410: Fault.MISSING, 408: Fault.SERVICE}
_PUT = {
    401: Fault.REFUSED,
    403: Fault.REFUSED,
    404: Fault.NO_DIRECTORY,
    409: Fault.NO_DIRECTORY,
    412: Fault.EXISTS,
    413: Fault.NO_SPACE,
    507: Fault.NO_SPACE,
    408: Fault.SERVICE,
    423: Fault.SERVICE,
}


def status_fault(status: int, detail: str, put: bool) -> ToolError:
    """The fault that a status means; 429 and 5xx pass, other refusals do not."""
    fault = (_PUT if put else _GET).get(status)
    if fault is None:
        fault = Fault.SERVICE if status == 429 or (status >= 500 and status != 501) else Fault.UNSUPPORTED
    return ToolError(fault, detail)


def plain_refusal(status: int, body: str, detail: str, put: bool) -> ToolError:
    """The fault of a web server's answer: its status tells all."""
    return status_fault(status, detail, put)


def seconds_to_wait(text: str) -> float:
    """What `Retry-After` says, as s from now on; 0 where it says nothing that can be understood."""
    if text.isdecimal():
        return float(text)
    if not text:
        return 0.0
    from email.utils import parsedate_to_datetime

    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    return max(0.0, at.timestamp() - time.time())


def connection_fault(error: Exception, url: str, started: bool) -> ToolError:
    """The fault of a connection that failed; `started`: after the answer had begun."""
    where = f"{urlsplit(url).scheme}://{urlsplit(url).netloc.rpartition('@')[2]}"
    if isinstance(error, ssl.SSLCertVerificationError):
        trust = f"the server's certificate is not trusted: {error.verify_message} (authorities: X509_CERT_DIR)"
        return ToolError(Fault.DENIED, f"{where}: {trust}")
    if isinstance(error, BadTls):
        return ToolError(Fault.CREDENTIAL, str(error))
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
        if len(value) == LENGTHS[kind] and re.fullmatch("[0-9a-f]+", value):
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
    if SECURE.get(url.partition("://")[0].lower()) and (trouble := certificate_trouble(settings.proxy_file)):
        raise ToolError(Fault.EXPIRED if trouble.expired else Fault.CREDENTIAL, trouble.text)


def read_token(settings: ToolSettings, url: str) -> str:
    """The bearer token for a secure URL, empty if there is none. Raises `ToolError` for a file that cannot be read."""
    if not SECURE.get(url.partition("://")[0].lower()):
        return ""
    try:
        return token_of(settings.environment, settings.token_file)
    except BadCredential as error:
        raise ToolError(Fault.CREDENTIAL, str(error)) from error


def route(settings: ToolSettings) -> tuple[Origin, ...]:
    """The proxies for plain http in order: the tool's option, then OSG_SQUID_LOCATION, then http_proxy.

    One that is no address is none.
    """
    words = settings.environment
    for text in (
        settings.options.get("http", {}).get("proxy", ""),
        words.get("OSG_SQUID_LOCATION", ""),
        words.get("http_proxy", ""),
    ):
        try:
            parts = urlsplit(text if "://" in text else f"http://{text}")
            host, port = parts.hostname, parts.port or 3128
        except ValueError:
            continue
        if text.upper() != "UNAVAILABLE" and host:
            return (Origin(False, host, port),)
    return ()


def goes_direct(host: str, environment: Mapping[str, str]) -> bool:
    """Whether `no_proxy` names a host, or a domain that it is in; `*` are all."""
    names = (name.strip().lower().lstrip(".") for name in environment.get("no_proxy", "").split(","))
    return any(name in ("*", host) or host.endswith(f".{name}") for name in names if name)
