"""Local files: names that stay where they belong, files that are whole or not there, copies hashed as they pass."""

from __future__ import annotations

import errno
import os
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from pilot.core.errors import BadOutputFileName, LfnTooLong

if TYPE_CHECKING:
    from pathlib import Path

    from pilot.lib.checksum import Hasher

#: Reads of this size stay in the cache of the processor; larger ones make a single pass slower, not faster.
BLOCK = 256 * 1024
NAME_BYTES = 255
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-~/")
#: What a file system may say that makes files without names and cannot name them.
_NO_LINK = frozenset({errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.ENOENT, errno.EINVAL})
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
        if "%" in rest:
            from urllib.parse import unquote

            return unquote(rest, errors="surrogateescape")
        return rest
    return None if "://" in url else url


def file_url(path: str) -> str:
    """The `file:` URL of an absolute path."""
    if _PLAIN.issuperset(path):
        return "file://" + path
    from urllib.parse import quote

    return "file://" + quote(path, errors="surrogateescape")


def part_path(target: str, token: str) -> str:
    """The name under which a file grows beside its final one; `token` tells who writes it.

    It does not contain the final name, which may use up all the 255 bytes a name can have.
    """
    directory, slash, name = target.rpartition("/")
    text = name.encode(errors="surrogateescape")
    return f"{directory}{slash}.pilot-{zlib.crc32(text):08x}{zlib.adler32(text):08x}-{token}.part"


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


def name_file(descriptor: int, final: str, part: str, replace: bool = True) -> None:
    """Give an open file without a name (`O_TMPFILE`) its own in one step; `part` is used on the way to replace one.

    Raises `OSError`: `FileExistsError` where something has the name already and may not be replaced.
    """
    try:
        _link(descriptor, final)
        return
    except FileExistsError:
        if not replace:
            raise
        discard(part)
        _link(descriptor, part)
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        if not replace and os.path.lexists(final):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), final) from error
        _write_out(descriptor, part)
    try:
        os.rename(part, final)
    except OSError:
        discard(part)
        raise


def _link(descriptor: int, name: str) -> None:
    # With a directory descriptor, though an absolute path does not need one, the link to the file is followed.
    os.link(f"/proc/self/fd/{descriptor}", name, src_dir_fd=descriptor, follow_symlinks=True)


def _write_out(descriptor: int, part: str) -> None:
    """The same as a file with a name, where the file system does not give one to what it made without."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    target = os.open(part, flags, os.fstat(descriptor).st_mode & 0o777)
    try:
        at = 0
        while data := os.pread(descriptor, BLOCK, at):
            write_all(target, memoryview(data))
            at += len(data)
    except OSError:
        discard(part)
        raise
    finally:
        os.close(target)


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
    written = os.write(descriptor, data)
    while written < len(data):
        data = data[written:]
        written = os.write(descriptor, data)
