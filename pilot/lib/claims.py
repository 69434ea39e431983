"""Work directories with a claim: other pilots on the node count the space as taken, and a dead pilot's are reaped.

A claim is a file beside the directory, locked by its owner for as long as that lives: the kernel lets go of the lock
when the owner dies, however it dies. It tells which directory belongs to it and how many bytes and files it is going
to need. It is there before the directory is, and goes after it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import tempfile
import time
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from pilot.lib.claimfile import PREFIX, SUFFIX, Found, claim_of, claims_in, drop_unwritten, is_ours, read_claim, turn
from pilot.lib.claimfile import used as used_in
from pilot.lib.removal import remove_tree


class Reserved(NamedTuple):
    """What living pilots have claimed and not yet used up."""

    bytes: int = 0
    inodes: int = 0


class WorkDirectory:
    """A directory of our own and its claim. `remove` is called on every way out; a kill leaves both to be reaped."""

    def __init__(self, path: str, claim: str, descriptor: int, note: str = "") -> None:
        self.path = path
        self._claim = claim
        self._descriptor = descriptor
        self._note = note

    def remove(self) -> bool:
        """Remove the directory with all in it, then the claim; safe to call twice.

        What cannot be removed keeps its claim, for a later pilot to reap; whether all is gone.
        """
        if self._descriptor < 0:
            return True
        if not remove_tree(self.path):
            self.leave()
            return False
        self.release()
        return True

    def leave(self) -> None:
        """Leave the directory and the claim, as if we had died: for a later pilot to adopt, or to reap."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
            self._unnote()

    def release(self) -> None:
        """Give up the claim and leave the directory as it is."""
        if self._descriptor >= 0:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._claim)
            os.close(self._descriptor)
            self._descriptor = -1
            self._unnote()

    def _unnote(self) -> None:
        if self._note:
            with contextlib.suppress(OSError):
                os.unlink(self._note)


def make(
    base: str,
    need_bytes: int,
    why_not: Callable[[], str] = lambda: "",
    need_inodes: int = 0,
    book: str = "",
) -> WorkDirectory:
    """Make a directory below `base` and claim `need_bytes` and `need_inodes` for it. Raises `OSError`.

    `why_not` is asked while nobody else of this user may claim anything below `base`, or anywhere on the node with the
    same `book`; what it says is the error (ENOSPC). A book is a directory that knows of all claims of a node.
    """
    with contextlib.ExitStack() as stack:
        book = _opened(book)
        if book:
            stack.enter_context(turn(book))
        stack.enter_context(turn(base))
        if why := why_not():
            raise OSError(errno.ENOSPC, why)
        descriptor, claim = tempfile.mkstemp(prefix=PREFIX, suffix=SUFFIX, dir=base)
        path = claim.removesuffix(SUFFIX)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.fchmod(descriptor, 0o644)
            os.write(descriptor, msgspec.json.encode(claim_of(path, need_bytes, need_inodes)))
            os.mkdir(path, 0o700)
        except OSError:
            os.unlink(claim)
            os.close(descriptor)
            raise
        return WorkDirectory(path, claim, descriptor, _noted(book, claim))


def reserved(base: str, book: str = "") -> Reserved:
    """What living pilots of any user have claimed below `base` and not yet used up.

    With a `book` also what this user's pilots have claimed elsewhere on the same file system.
    """
    size = files = 0
    for found in [*claims_in(base), *_elsewhere(base, book)]:
        if found.lives:
            used = used_in(found.directory)
            size += max(0, found.claim.need_bytes - used[0])
            files += max(0, found.claim.need_inodes - used[1])
        found.close()
    return Reserved(size, files)


def adopt(base: str, is_wanted: Callable[[str], bool]) -> WorkDirectory | None:
    """Take over the directory of a dead pilot of this user and node that `is_wanted`; None if there is none."""
    taken: WorkDirectory | None = None
    try:
        with turn(base):
            for found in claims_in(base):
                wanted = not found.lives and taken is None and is_ours(base, found)
                if wanted and os.path.isdir(found.directory) and is_wanted(found.directory):
                    own = claim_of(found.directory, found.claim.need_bytes, found.claim.need_inodes)
                    os.ftruncate(found.descriptor, 0)
                    os.pwrite(found.descriptor, msgspec.json.encode(own), 0)
                    taken = WorkDirectory(found.directory, found.path, found.descriptor)
                else:
                    found.close()
    except OSError:
        # A base that cannot be locked or read has nothing of ours.
        return taken
    return taken


def reap(base: str, is_kept: Callable[[str, float], bool] = lambda path, age_s: False) -> list[str]:
    """Remove what dead pilots of this user and node left below `base`, and nothing else; the directories removed.

    `is_kept` spares a directory, given its path and the seconds since it was claimed.
    """
    removed: list[str] = []
    try:
        with turn(base):
            drop_unwritten(base)
            for found in claims_in(base):
                try:
                    if not found.lives and _reaped(base, found, is_kept):
                        removed.append(found.directory)
                finally:
                    found.close()
    except OSError:
        # A base that cannot be locked or read has nothing of ours.
        return removed
    return removed


def _reaped(base: str, found: Found, is_kept: Callable[[str, float], bool]) -> bool:
    age_s = time.time() - os.fstat(found.descriptor).st_mtime
    if not is_ours(base, found) or is_kept(found.directory, age_s) or not remove_tree(found.directory):
        return False
    os.unlink(found.path)
    return True


def _opened(book: str) -> str:
    """The book, made if need be; empty if it cannot be used: then only claims below the same base count."""
    if not book:
        return ""
    try:
        os.makedirs(book, mode=0o700, exist_ok=True)
        seen = os.lstat(book)
    except OSError:
        return ""
    return book if seen.st_uid == os.getuid() and not os.path.islink(book) else ""


def _noted(book: str, claim: str) -> str:
    if not book:
        return ""
    note = os.path.join(book, f"{os.path.basename(claim)}.{os.getpid()}.{time.monotonic_ns():x}")
    try:
        os.symlink(os.path.abspath(claim), note)
    except OSError:
        return ""
    return note


def _elsewhere(base: str, book: str) -> list[Found]:
    """Claims that the book knows, of other directories of the same file system; notes of what is gone are removed."""
    found: list[Found] = []
    if not book or not _opened(book):
        return found
    with contextlib.suppress(OSError):
        device = os.stat(base).st_dev
        for name in os.listdir(book):
            note = os.path.join(book, name)
            if not os.path.islink(note):
                continue
            claim = os.readlink(note)
            if not os.path.lexists(claim):
                os.unlink(note)
            elif os.stat(os.path.dirname(claim)).st_dev == device and not _same(os.path.dirname(claim), base):
                found += filter(None, [read_claim(claim)])
    return found


def _same(one: str, other: str) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)
