"""Local files: names that stay where they belong, files that are whole or not there, copies hashed as they pass."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote, unquote

from pilot.core.errors import BadOutputFileName, LfnTooLong
from pilot.lib.checksum import Hasher

#: Reads of this size stay in the cache of the processor; larger ones make a single pass slower, not faster.
BLOCK = 256 * 1024
NAME_BYTES = 255
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def is_full(error: OSError) -> bool:
    """Whether the error means that there is no room: disk, quota or largest file."""
    return error.errno in _FULL


def check_name(name: str) -> str:
    """The logical file name itself, once it is known to be harmless.

    Blanks, quotes, newlines and UTF-8 are fine, so are directories inside. Raises `LfnTooLong` for a component of
    more than 255 bytes and `BadOutputFileName` for an empty or absolute name, a NUL, `.` and `..`.
    """
    if not name or "\0" in name or name[0] == "/" or name[-1] == "/":
        raise BadOutputFileName(f"{name!r}")
    try:
        encoded = name.encode()
    except UnicodeEncodeError as error:
        raise BadOutputFileName(f"{name!r} is not text") from error
    if len(encoded) > NAME_BYTES and any(len(part) > NAME_BYTES for part in encoded.split(b"/")):
        raise LfnTooLong(f"{name[:40]!r}... has {len(encoded)} bytes")
    if "/" in name or name in (".", ".."):
        for part in name.split("/"):
            if part in ("", ".", ".."):
                raise BadOutputFileName(f"{name!r} leaves its directory")
    return name


def safe_join(root: str, name: str) -> str:
    """The path of `name` below `root`. Raises as `check_name`, and where a link on the way leads out of `root`."""
    path = os.path.join(root, check_name(name))
    if "/" in name:
        inside = os.path.realpath(root)
        if os.path.commonpath((inside, os.path.realpath(os.path.dirname(path)))) != inside:
            raise BadOutputFileName(f"{name!r} leaves its directory")
    return path


def local_path(url: str) -> str | None:
    """The path that a `file:` URL or a bare path means; None for every other scheme."""
    if url[:1] == "/":
        return url
    if url[:5].lower() == "file:":
        rest = url[5:]
        if rest[:2] == "//":
            rest = "/" + rest[2:].partition("/")[2]
        return unquote(rest, errors="surrogateescape") if "%" in rest else rest
    return None if "://" in url else url


def file_url(path: str) -> str:
    """The `file:` URL of an absolute path."""
    return "file://" + quote(path, errors="surrogateescape")


def part_path(target: str, token: str) -> str:
    """The name under which a file grows beside its final one; `token` tells who writes it.

    It does not contain the final name, which may use up all the 255 bytes a name can have.
    """
    directory, name = os.path.split(target)
    mark = hashlib.blake2b(name.encode(errors="surrogateescape"), digest_size=6).hexdigest()
    return os.path.join(directory, f".pilot-{mark}-{token}.part")


def write_atomically(path: str | Path, data: bytes | str, mode: int = 0o666, fsync: bool = False) -> None:
    """Put a file under its name in one step: readers see the old content or the new, never a part."""
    final = os.fspath(path)
    content = data.encode() if isinstance(data, str) else data
    part = part_path(final, f"{os.getpid():x}")
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
        try:
            write_all(descriptor, memoryview(content))
            if fsync:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.rename(part, final)
    except OSError:
        discard(part)
        raise


def discard(path: str) -> None:
    """Remove a file if it is there."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def copy_stream(
    source: int, target: int, hasher: Hasher, on_bytes: Callable[[int], None], buffer: bytearray | None = None
) -> int:
    """Copy all that is left in one descriptor to another, hashing it in the same pass; the number of bytes.

    `on_bytes` hears of every block and may raise to stop. Raises `OSError`.
    """
    space = buffer or bytearray(BLOCK)
    view = memoryview(space)
    total = 0
    while count := os.readv(source, (view,)):
        block = view[:count]
        hasher.update(block)
        write_all(target, block)
        total += count
        on_bytes(count)
    return total


def write_all(descriptor: int, data: memoryview) -> None:
    """Write every byte. Raises `OSError`."""
    while data:
        data = data[os.write(descriptor, data) :]
