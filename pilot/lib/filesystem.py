"""What kind of file system a path lies on: whether the kernel here sees every change to it."""

from __future__ import annotations

import os
from pathlib import Path

_NETWORK = frozenset(
    {
        "nfs",
        "nfs4",
        "lustre",
        "gpfs",
        "cifs",
        "smb3",
        "ceph",
        "afs",
        "beegfs",
        "panfs",
        "orangefs",
        "pvfs2",
        "glusterfs",
        "9p",
        "virtiofs",
        "cvfs",
        "dvs",
        "daos",
        "ocfs2",
        "gfs2",
    }
)


def kind_of(path: str | os.PathLike[str], mounts: str | None = None) -> str:
    """The type of the file system that holds `path` (`ext4`, `nfs4`, `fuse.sshfs`, ...); empty if nobody tells.

    `mounts` is the text of a mountinfo file; by default this process's own is read.
    """
    if mounts is None:
        try:
            mounts = Path("/proc/self/mountinfo").read_text(errors="surrogateescape")
        except OSError:
            return ""
    real = os.path.realpath(path)
    best, kind = -1, ""
    for line in mounts.splitlines():
        head, dash, tail = line.partition(" - ")
        words = head.split()
        if not dash or len(words) < 5 or not tail.split():
            continue
        point = words[4].encode(errors="surrogateescape").decode("unicode_escape", "replace")
        inside = real == point or real.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= best:
            best, kind = len(point), tail.split()[0]
    return kind


def is_shared(path: str | os.PathLike[str], mounts: str | None = None) -> bool:
    """Whether other machines may change what is there without the kernel here being told."""
    kind = kind_of(path, mounts)
    return kind in _NETWORK or kind.startswith("fuse.")
