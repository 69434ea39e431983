"""Claim files: what one tells, whether its owner lives, and whether what it speaks of is ours to remove."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator

import msgspec

from pilot.lib.scratch import on_network

PREFIX = "pilot."
SUFFIX = ".claim"
_LOCK = ".pilot-claims.lock"
_LOOKED_AT = 20_000
#: A claim in which nothing is written yet is being made; after this time its maker has died over it.
_MADE_WITHIN_S = 60.0


class Claim(msgspec.Struct, frozen=True):
    """What a claim file tells. `boot` is the kernel's boot id: those who share it see each other's locks."""

    directory: str
    need_bytes: int
    host: str
    pid: int
    uid: int
    need_inodes: int = 0
    boot: str = ""


class Found(msgspec.Struct, frozen=True):
    """A claim file with what it tells, and a descriptor that holds its lock (-1: its owner lives)."""

    path: str
    claim: Claim
    descriptor: int

    @property
    def directory(self) -> str:
        """The directory beside it: never one that its text alone names."""
        return self.path.removesuffix(SUFFIX)

    @property
    def lives(self) -> bool:
        """Whether its owner does."""
        return self.descriptor < 0

    def close(self) -> None:
        """Let go of the lock."""
        if self.descriptor >= 0:
            os.close(self.descriptor)


def claim_of(directory: str, need_bytes: int, need_inodes: int) -> Claim:
    """Our own claim."""
    host = socket.gethostname()
    return Claim(directory, need_bytes, host, os.getpid(), os.getuid(), need_inodes, boot_id())


def claims_in(base: str) -> Iterator[Found]:
    """Every claim below a base that can be read, also other users'. Who gets one closes it."""
    try:
        names = sorted(os.listdir(base))
    except OSError:
        return
    for name in names:
        named = name.startswith(PREFIX) and name.endswith(SUFFIX)
        if named and (found := read_claim(os.path.join(os.path.abspath(base), name))):
            yield found


def read_claim(path: str) -> Found | None:
    """The claim in a file; None for what is none."""
    descriptor = _opened(path)
    if descriptor < 0:
        return None
    try:
        claim = msgspec.convert(json.loads(os.read(descriptor, 1 << 16)), Claim)
    except (ValueError, OSError):
        os.close(descriptor)
        return None
    if not _locked(descriptor):
        os.close(descriptor)
        descriptor = -1
    return Found(path, claim, descriptor)


def _opened(path: str) -> int:
    """A descriptor of a file, for writing if we may; -1 if it cannot be read."""
    for way in (os.O_RDWR, os.O_RDONLY):
        try:
            return os.open(path, way | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            continue
    return -1


def _locked(descriptor: int) -> bool:
    """Whether nobody else had the lock; we have it now. Some file systems want no more of a reader than to share it."""
    for way in (fcntl.LOCK_EX, fcntl.LOCK_SH):
        try:
            fcntl.flock(descriptor, way | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            return False
        except OSError:
            continue
    return False


def is_ours(base: str, found: Found) -> bool:
    """Whether a claim that nobody holds is a dead pilot's of this user and node.

    Every word of it must fit what is on disk. A lock tells about owners under the same kernel. An owner under another
    one is dead if it was this host before it was started anew, which only a disk of its own can tell.
    """
    claim, directory = found.claim, found.directory
    fits = os.path.basename(claim.directory) == os.path.basename(directory)
    if not fits or os.path.realpath(os.path.dirname(claim.directory)) != os.path.realpath(base):
        return False
    if claim.uid != os.getuid() or os.lstat(found.path).st_uid != os.getuid():
        return False
    if claim.boot != boot_id() and (claim.host != socket.gethostname() or (claim.boot and on_network(base))):
        return False
    try:
        seen = os.lstat(directory)
    except FileNotFoundError:
        return True
    return not os.path.islink(directory) and seen.st_uid == os.getuid()


def drop_unwritten(base: str) -> None:
    """Remove our claims whose makers died before they could write: nothing was made yet under them."""
    for name in os.listdir(base):
        if not (name.startswith(PREFIX) and name.endswith(SUFFIX)):
            continue
        path = os.path.join(base, name)
        with contextlib.suppress(OSError):
            seen = os.lstat(path)
            old = time.time() - seen.st_mtime > _MADE_WITHIN_S
            if old and not seen.st_size and seen.st_uid == os.getuid() and not os.path.lexists(path[: -len(SUFFIX)]):
                os.unlink(path)


@contextlib.contextmanager
def turn(base: str) -> Iterator[None]:
    """One pilot of the user at a time counts, claims and reaps below a base. Raises `OSError`."""
    path = os.path.join(base, f"{_LOCK}.{os.getuid()}")
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def used(directory: str) -> tuple[int, int]:
    """Bytes and files in a directory; a very large one is taken for what was counted so far."""
    total = count = 0
    for root, folders, names in os.walk(directory):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(root, name)).st_blocks * 512
        count += len(names) + len(folders)
        if count > _LOOKED_AT:
            break
    return total, count


def boot_id() -> str:
    """What the kernel calls this run of itself; empty where it does not tell."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as stream:
            return stream.read().strip()
    except OSError:
        return ""
