"""Whose a certificate or proxy (PEM) is and how long it is good for, from its bytes (X.509 as DER: RFC 5280, 4.1)."""

from __future__ import annotations

import base64
import calendar
import re
import time
from collections.abc import Callable
from typing import TypeVar

_BLOCK = re.compile(rb"-----BEGIN CERTIFICATE-----(.*?)-----END CERTIFICATE-----", re.DOTALL)
#: The types of a name's parts by their object identifiers (RFC 4519), and their short names.
_NAMES = {
    **{bytes((0x55, 0x04, last)): name for last, name in {3: "CN", 6: "C", 7: "L", 8: "ST", 10: "O", 11: "OU"}.items()},
    bytes.fromhex("0992268993f22c640119"): "DC",
    bytes.fromhex("0992268993f22c640101"): "UID",
    bytes.fromhex("2a864886f70d010901"): "emailAddress",
}
_PROXY_PART = re.compile(r"/CN=(\d+|proxy|limited proxy)$")
#: A pair of times with four digits of the year: in a proxy only the attributes of a VOMS server have it (RFC 5755).
_ATTRIBUTES_LIFE = re.compile(rb"\x18\x0f\d{14}Z\x18\x0f(\d{14})Z")
#: A text of bytes with its length before it, and what a VOMS server says in such ones.
_BYTES = re.compile(rb"\x04(?:\x81([\x80-\xff])|([\x01-\x7f]))(?=/)", re.DOTALL)
_ROLE = re.compile(rb"(/([\w.-]+)(?:/[\w.-]+)*/Role=([\w.-]+))(?:/Capability=[\w.-]+)?")
T = TypeVar("T")
_SEQUENCE, _VERSION, _UTC_TIME = 0x30, 0xA0, 0x17


def not_after(path: str) -> float:
    """The epoch s at which the first certificate of a PEM file ends.

    Raises `OSError` if the file cannot be read and `ValueError` if there is no certificate in it.
    """
    return _read(path, _end_of)


def owner(path: str) -> str:
    """Whose the first certificate of a PEM file is, as `/DC=org/CN=Some One`, without the parts that proxies add.

    Raises as `not_after`.
    """
    return _read(path, _owner_of)


def voms_role(path: str) -> str:
    """The first role that a proxy (PEM, with the chain of its issuers) claims, as `vo:/vo/Role=production`; "" without.

    Raises as `not_after`.
    """
    for der in _certificates(path):
        for begin in _BYTES.finditer(der):
            size = (begin[1] or begin[2])[0]
            found = _ROLE.fullmatch(der, begin.end(), begin.end() + size)
            if found and found[3] != b"NULL":
                return f"{found[2].decode()}:{found[1].decode()}"
    return ""


def roles_end(path: str) -> float | None:
    """The epoch s at which what a VOMS server says of a proxy's owner ends; None for one without. Raises as
    `not_after`."""
    found = next((found for der in _certificates(path) if (found := _ATTRIBUTES_LIFE.search(der))), None)
    return float(calendar.timegm(time.strptime(found[1].decode(), "%Y%m%d%H%M%S"))) if found else None


def _read(path: str, what: Callable[[bytes], T]) -> T:
    der = _certificates(path)[0]
    try:
        return what(der)
    except (IndexError, ValueError) as error:
        raise ValueError(f"the certificate in {path} cannot be read") from error


def _certificates(path: str) -> list[bytes]:
    """The certificates of a PEM file as DER, one at least."""
    with open(path, "rb") as stream:
        blocks = _BLOCK.findall(stream.read())
    if not blocks:
        raise ValueError(f"{path} holds no certificate")
    try:
        return [base64.b64decode(block) for block in blocks]
    except ValueError as error:
        raise ValueError(f"the certificate in {path} cannot be read") from error


def _validity(der: bytes) -> int:
    """Where the validity begins; the subject comes after it."""
    _, at, _ = _element(der, 0)  # Certificate
    _, at, _ = _element(der, at)  # tbsCertificate
    tag, _, after = _element(der, at)
    if tag == _VERSION:
        _, _, after = _element(der, after)  # serialNumber
    _, _, after = _element(der, after)  # signature
    _, _, after = _element(der, after)  # issuer
    return after


def _owner_of(der: bytes) -> str:
    _, _, after = _element(der, _validity(der))
    _, at, end = _element(der, after)  # subject: a sequence of sets of pairs of a type and a value
    name = ""
    while at < end:
        _, pair, at = _element(der, at)
        _, pair, _ = _element(der, pair)
        _, kind, value = _element(der, pair)
        oid = der[kind:value]
        _, begin, stop = _element(der, value)
        name += f"/{_NAMES.get(oid, oid.hex())}={der[begin:stop].decode('utf-8', 'replace')}"
    while found := _PROXY_PART.search(name):
        name = name[: found.start()]
    return name


def _end_of(der: bytes) -> float:
    tag, at, _ = _element(der, _validity(der))
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
