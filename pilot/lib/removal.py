"""Removing a directory with all in it, whatever a payload did there; and never what is mounted in it."""

from __future__ import annotations

import os
import shutil


def remove_tree(path: str | os.PathLike[str]) -> bool:
    """Remove a directory with all in it, links unfollowed; whether it is gone. Never raises.

    Directories that may not be written or read are opened first. What something is mounted in stays as it is: behind
    the mount may be anybody's files.
    """
    name = os.fspath(path)
    if mounts_within(name):
        return False
    shutil.rmtree(name, ignore_errors=True)
    if os.path.lexists(name) and not os.path.islink(name):
        _open_up(name)
        shutil.rmtree(name, ignore_errors=True)
    return not os.path.lexists(name)


def mounts_within(path: str) -> list[str]:
    """The mount points at and below a directory, as the kernel has them; empty where it does not tell."""
    real = os.path.realpath(path)
    try:
        with open("/proc/self/mountinfo", "rb") as stream:
            points = [os.fsdecode(_plain(line.split(b" ", 5)[4])) for line in stream]
    except (OSError, IndexError):
        return []
    return [point for point in points if point == real or point.startswith(real.rstrip("/") + "/")]


def _plain(text: bytes) -> bytes:
    """A name out of the mount table, where blanks and backslashes stand in octal."""
    head, *rest = text.split(b"\\")
    return head + b"".join(bytes([int(part[:3], 8)]) + part[3:] for part in rest)


def _open_up(path: str) -> None:
    """Let us write into all directories below."""
    try:
        os.chmod(path, 0o700)
        for root, names, _ in os.walk(path):
            for name in names:
                inner = os.path.join(root, name)
                if not os.path.islink(inner):
                    os.chmod(inner, 0o700)
    except OSError:
        # Somebody else's: the second try tells by what is left.
        return
