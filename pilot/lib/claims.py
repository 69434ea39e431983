"""Work directories with a claim: other pilots on the node count the space as taken, and a dead pilot's are reaped.

A claim is a file beside the directory, locked by its owner for as long as that lives: the kernel lets go of the lock
when the owner dies, however it dies. It tells which directory belongs to it and how many bytes it is going to need.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator

import msgspec

_PREFIX = "pilot."
_CLAIM = ".claim"
_LOCK = ".pilot-claims.lock"
_LOOKED_AT = 20_000


class Claim(msgspec.Struct, frozen=True):
    """What a claim file tells."""

    directory: str
    need_bytes: int
    host: str
    pid: int
    uid: int


class WorkDirectory:
    """A directory of our own and its claim. `remove` is called on every way out; a kill leaves both to be reaped."""

    def __init__(self, path: str, claim: str, descriptor: int) -> None:
        self.path = path
        self._claim = claim
        self._descriptor = descriptor

    def remove(self) -> None:
        """Remove the directory with all in it, then the claim; safe to call twice."""
        if self._descriptor < 0:
            return
        shutil.rmtree(self.path, ignore_errors=True)
        self.release()

    def leave(self) -> None:
        """Leave the directory and the claim, as if we had died: for a later pilot to adopt, or to reap."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def release(self) -> None:
        """Give up the claim and leave the directory as it is."""
        if self._descriptor >= 0:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._claim)
            os.close(self._descriptor)
            self._descriptor = -1


def make(base: str, need_bytes: int, why_not: Callable[[], str] = lambda: "") -> WorkDirectory:
    """Make a directory below `base` and claim `need_bytes` for it. Raises `OSError`.

    `why_not` is asked while nobody else below `base` may claim anything; what it says is the error (ENOSPC).
    """
    with _turn(base):
        if why := why_not():
            raise OSError(errno.ENOSPC, why)
        path = tempfile.mkdtemp(prefix=_PREFIX, dir=base)
        claim = path + _CLAIM
        facts = Claim(path, need_bytes, socket.gethostname(), os.getpid(), os.getuid())
        try:
            descriptor = os.open(claim, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.write(descriptor, msgspec.json.encode(facts))
        except OSError:
            os.rmdir(path)
            raise
        return WorkDirectory(path, claim, descriptor)


def reserved_bytes(base: str) -> int:
    """What living pilots have claimed below `base` and not yet used up."""
    total = 0
    for _, claim, descriptor in _claims(base):
        if descriptor < 0:
            total += max(0, claim.need_bytes - _used(claim.directory))
        else:
            os.close(descriptor)
    return total


def adopt(base: str, is_wanted: Callable[[str], bool]) -> WorkDirectory | None:
    """Take over the directory of a dead pilot of this user and node that `is_wanted`; None if there is none."""
    found: WorkDirectory | None = None
    try:
        with _turn(base):
            for path, claim, descriptor in _claims(base):
                wanted = descriptor >= 0 and found is None and _is_ours(base, path, claim)
                if wanted and os.path.isdir(claim.directory) and is_wanted(claim.directory):
                    text = msgspec.json.encode(msgspec.structs.replace(claim, pid=os.getpid()))
                    os.ftruncate(descriptor, 0)
                    os.pwrite(descriptor, text, 0)
                    found = WorkDirectory(claim.directory, path, descriptor)
                elif descriptor >= 0:
                    os.close(descriptor)
    except OSError:
        # A base that cannot be locked or read has nothing of ours.
        return found
    return found


def reap(base: str, is_kept: Callable[[str, float], bool] = lambda path, age_s: False) -> list[str]:
    """Remove what dead pilots of this user and node left below `base`, and nothing else; the directories removed.

    `is_kept` spares a directory, given its path and the seconds since it was claimed.
    """
    removed: list[str] = []
    try:
        with _turn(base):
            for path, claim, descriptor in _claims(base):
                if descriptor < 0:
                    continue
                try:
                    age_s = time.time() - os.fstat(descriptor).st_mtime
                    if _is_ours(base, path, claim) and not is_kept(claim.directory, age_s):
                        shutil.rmtree(claim.directory, ignore_errors=True)
                        os.unlink(path)
                        removed.append(claim.directory)
                finally:
                    os.close(descriptor)
    except OSError:
        # A base that cannot be locked or read has nothing of ours.
        return removed
    return removed


def _is_ours(base: str, path: str, claim: Claim) -> bool:
    """Whether a claim that nobody holds is a dead pilot's of ours: every word of it must fit what is on disk."""
    fits = claim.directory + _CLAIM == path and os.path.dirname(claim.directory) == os.path.abspath(base)
    if not fits or claim.host != socket.gethostname() or claim.uid != os.getuid():
        return False
    if os.lstat(path).st_uid != os.getuid() or os.path.islink(claim.directory):
        return False
    try:
        return os.lstat(claim.directory).st_uid == os.getuid()
    except FileNotFoundError:
        return True


def _claims(base: str) -> Iterator[tuple[str, Claim, int]]:
    """Claim file, its content, and a descriptor that holds its lock if nobody else does (-1: its owner lives)."""
    try:
        names = sorted(os.listdir(base))
    except OSError:
        return
    for name in names:
        if not (name.startswith(_PREFIX) and name.endswith(_CLAIM)):
            continue
        path = os.path.join(os.path.abspath(base), name)
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            continue
        try:
            claim = msgspec.convert(json.loads(os.read(descriptor, 1 << 16)), Claim)
        except (ValueError, OSError):
            os.close(descriptor)
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            yield path, claim, -1
            continue
        yield path, claim, descriptor


@contextlib.contextmanager
def _turn(base: str) -> Iterator[None]:
    """One pilot at a time counts, claims and reaps below a base."""
    path = os.path.join(base, f"{_LOCK}.{os.getuid()}")
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _used(directory: str) -> int:
    """Bytes in a directory; a very large one is taken for what was counted so far."""
    total = count = 0
    for root, _, names in os.walk(directory):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(root, name)).st_blocks * 512
            count += 1
            if count > _LOOKED_AT:
                return total
    return total
