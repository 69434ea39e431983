"""How long a certificate or proxy (PEM) is good for, read from its own bytes (X.509 as DER: RFC 5280, 4.1)."""

from __future__ import annotations

import base64
import calendar
import time

_BEGIN = b"-----BEGIN CERTIFICATE-----"
_END = b"-----END CERTIFICATE-----"
_SEQUENCE, _VERSION, _UTC_TIME = 0x30, 0xA0, 0x17


def not_after(path: str) -> float:
    """The epoch s at which the first certificate of a PEM file ends.

    Raises `OSError` if the file cannot be read and `ValueError` if there is no certificate in it.
    """
    with open(path, "rb") as stream:
        text = stream.read()
    start = text.find(_BEGIN)
    end = text.find(_END, start)
    if start < 0 or end < 0:
        raise ValueError(f"{path} holds no certificate")
    try:
        return _end_of(base64.b64decode(text[start + len(_BEGIN) : end]))
    except (IndexError, ValueError) as error:
        raise ValueError(f"the certificate in {path} cannot be read") from error


def _end_of(der: bytes) -> float:
    _, at, _ = _element(der, 0)  # Certificate
    _, at, _ = _element(der, at)  # tbsCertificate
    tag, _, after = _element(der, at)
    if tag == _VERSION:
        _, _, after = _element(der, after)  # serialNumber
    _, _, after = _element(der, after)  # signature
    _, _, after = _element(der, after)  # issuer
    tag, at, _ = _element(der, after)  # validity
    if tag != _SEQUENCE:
        raise ValueError("no validity")
    _, _, after = _element(der, at)  # notBefore
    tag, at, end = _element(der, after)
    words = der[at:end].decode("ascii")
    if tag == _UTC_TIME:
        words = ("19" if words[:2] >= "50" else "20") + words
    return float(calendar.timegm(time.strptime(words, "%Y%m%d%H%M%SZ")))


def _element(der: bytes, at: int) -> tuple[int, int, int]:
    """Tag, begin and end of the content of the element that begins at `at`."""
    tag, length, at = der[at], der[at + 1], at + 2
    if length & 0x80:
        count = length & 0x7F
        length, at = int.from_bytes(der[at : at + count], "big"), at + count
    return tag, at, at + length
