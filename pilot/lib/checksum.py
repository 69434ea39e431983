"""Checksums: reading the forms that catalogues hold, and computing several kinds in one pass.

adler32 comes from zlib-ng where that imports (several times faster than zlib), crc32c from `google_crc32c` or
`crc32c`; without either of them a table in plain Python does, at some MB/s.
"""

from __future__ import annotations

import functools
import time
import zlib
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from pilot.core.errors import GetAdMismatch, GetMd5Mismatch, UnknownChecksumType
from pilot.core.transfer import Checksum

Buffer = bytes | bytearray | memoryview

#: Hex digits of each kind.
LENGTHS = {"adler32": 8, "crc32c": 8, "crc32": 8, "md5": 32, "sha1": 40, "sha256": 64, "sha512": 128}
_NAMES = {"ad": "adler32", "adler": "adler32", "md": "md5", "sha-256": "sha256", "sha-1": "sha1", "sha": "sha1"}
_BARE = {8: "adler32", 32: "md5", 40: "sha1", 64: "sha256", 128: "sha512"}
_EMPTY = frozenset({"", "null", "none", "0x"})
_HEX = frozenset("0123456789abcdef")
_STEP = 1 << 20
_PIECE = 1 << 16


def parse_checksum(text: str | None) -> tuple[Checksum, ...]:
    """The checksum that a catalogue's text means; nothing for an empty one (`NULL`, `ad:`).

    Accepted: `ad:0a1b2c3d`, `adler32:A1B2C3D`, `md:...`, `md5:...`, `sha256:...`, `crc32c:...`, a bare value
    (adler32 unless its length is another kind's), any case, `0x`, 32-bit sums without their leading zeros.
    Raises `GetAdMismatch` or `GetMd5Mismatch` for a value that cannot be one, `UnknownChecksumType` for a
    kind nobody knows.
    """
    prefix, colon, value = (text or "").strip().strip("\"'").lower().rpartition(":")
    value = value.strip().removeprefix("0x")
    if value in _EMPTY:
        return ()
    if colon:
        kind = _NAMES.get(prefix.strip(), prefix.strip())
    else:
        kind = _BARE.get(len(value), "adler32")
    if kind not in LENGTHS:
        raise UnknownChecksumType(f"{text!r}")
    return (Checksum(kind, _digits(kind, value, text or "")),)


def _digits(kind: str, value: str, text: str) -> str:
    """The value at full length; 32-bit sums lose leading zeros in catalogues, cryptographic ones never do."""
    length = LENGTHS[kind]
    if length == 8:
        value = value.zfill(8)
    if len(value) != length or not _HEX.issuperset(value):
        wrong = GetMd5Mismatch if kind == "md5" else GetAdMismatch
        raise wrong(f"{text!r} is no {kind}: that has {length} hexadecimal digits")
    return value


class Digest(Protocol):
    """What every kind of sum can do."""

    def update(self, data: Buffer, /) -> None: ...
    def hexdigest(self) -> str: ...


class _Sum32:
    """A 32-bit running sum as a digest."""

    def __init__(self, function: Callable[[Buffer, int], int], start: int) -> None:
        self._function = function
        self._value = start

    def update(self, data: Buffer, /) -> None:
        self._value = self._function(data, self._value)

    def hexdigest(self) -> str:
        return f"{self._value & 0xFFFFFFFF:08x}"


@functools.cache
def fast_adler32() -> Callable[[Buffer, int], int]:
    """The fastest adler32 at hand."""
    try:
        from zlib_ng import zlib_ng
    except ImportError:
        return zlib.adler32
    function: Callable[[Buffer, int], int] = zlib_ng.adler32
    return function


def _adler32(data: Buffer, value: int) -> int:
    """Small pieces are summed before a faster library would be loaded."""
    return zlib.adler32(data, value) if len(data) < _PIECE else fast_adler32()(data, value)


@functools.cache
def fast_crc32c() -> Callable[[Buffer, int], int]:
    """The fastest crc32c at hand."""
    try:
        import google_crc32c
    except ImportError:
        pass
    else:
        return lambda data, value: int(google_crc32c.extend(value, bytes(data)))
    try:
        import crc32c
    except ImportError:
        return _plain_crc32c
    function: Callable[[Buffer, int], int] = crc32c.crc32c
    return function


@functools.cache
def _crc32c_table() -> Sequence[int]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = (byte >> 1) ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


def _plain_crc32c(data: Buffer, value: int) -> int:
    table, value = _crc32c_table(), value ^ 0xFFFFFFFF
    for byte in memoryview(data).cast("B"):
        value = (value >> 8) ^ table[(value ^ byte) & 0xFF]
    return value ^ 0xFFFFFFFF


def new_digest(kind: str) -> Digest:
    """An empty sum of a kind. Raises `UnknownChecksumType`."""
    if kind == "adler32":
        return _Sum32(_adler32, 1)
    if kind == "crc32c":
        return _Sum32(fast_crc32c(), 0)
    if kind == "crc32":
        return _Sum32(zlib.crc32, 0)
    if kind not in LENGTHS:
        raise UnknownChecksumType(f"{kind!r}")
    import hashlib

    return hashlib.new(kind, usedforsecurity=False)


class Hasher:
    """Several kinds of sum over one stream of bytes. `seconds` is the time spent on them so far."""

    def __init__(self, kinds: Iterable[str]) -> None:
        self._digests = {kind: new_digest(kind) for kind in dict.fromkeys(kinds)}
        self.seconds = 0.0

    def update(self, data: Buffer) -> None:
        """Take the next bytes."""
        if self._digests:
            begin = time.perf_counter()
            for digest in self._digests.values():
                digest.update(data)
            self.seconds += time.perf_counter() - begin

    def values(self) -> dict[str, str]:
        """Kind -> lower-case hex of full length, of all bytes taken so far."""
        return {kind: digest.hexdigest() for kind, digest in self._digests.items()}


def checksum_of(path: str, kinds: Iterable[str], on_bytes: Callable[[int], None] | None = None) -> Hasher:
    """Read a local file through a hasher; `on_bytes` hears of every block and may raise to stop. Raises `OSError`."""
    hasher = Hasher(kinds)
    buffer = bytearray(_STEP)
    view = memoryview(buffer)
    with open(path, "rb", buffering=0) as stream:
        while count := stream.readinto(buffer):
            hasher.update(view[:count])
            if on_bytes:
                on_bytes(count)
    return hasher
