"""Server and client certificates: the TLS context, and the name that a client's certificate or proxy carries."""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass
from pathlib import Path

_SHORT = {
    "countryName": "C", "stateOrProvinceName": "ST", "localityName": "L", "organizationName": "O",
    "organizationalUnitName": "OU", "commonName": "CN", "domainComponent": "DC", "userId": "UID",
}  # fmt: skip
# The policy of a limited proxy (OID 1.3.6.1.4.1.3536.1.1.1.9) as it stands in the certificate's DER bytes.
_LIMITED_POLICY = bytes.fromhex("060b2b060104019b5001010109")
_PROXY_PART = re.compile(r"/CN=(\d+|proxy|limited proxy)$")


@dataclass(frozen=True)
class Subject:
    """A certificate's subject as `/DC=org/CN=Some One`, without the parts that proxies add."""

    dn: str
    limited: bool


def context(cert: Path, key: Path | None, client_ca: Path | None) -> ssl.SSLContext:
    """The server's TLS context. With `client_ca` clients may show a certificate or a proxy issued under it.

    Raises `OSError` (of which `ssl.SSLError` is one) for files that cannot be used.
    """
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(cert, key)
    if client_ca is not None:
        made.load_verify_locations(
            cafile=None if client_ca.is_dir() else client_ca, capath=client_ca if client_ca.is_dir() else None
        )
        made.verify_mode = ssl.CERT_OPTIONAL
        made.verify_flags |= ssl.VerifyFlags.VERIFY_ALLOW_PROXY_CERTS
    return made


def subject_of(tls: ssl.SSLObject) -> Subject | None:
    """The verified subject of the other side; None if it showed no certificate."""
    shown, raw = tls.getpeercert(), tls.getpeercert(binary_form=True)
    if not shown or not raw:
        return None
    parts: list[tuple[str, str]] = [pair for group in shown["subject"] for pair in group]  # type: ignore[misc]
    return subject("".join(f"/{_SHORT.get(name, name)}={value}" for name, value in parts), raw)


def subject(full_dn: str, raw: bytes) -> Subject:
    """The subject behind a full DN and the certificate's DER bytes."""
    limited = _LIMITED_POLICY in raw
    dn = full_dn
    while (part := _PROXY_PART.search(dn)) is not None:
        limited = limited or part.group(1) == "limited proxy"
        dn = dn[: part.start()]
    return Subject(dn, limited)
