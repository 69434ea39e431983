"""Where on this node a work directory can be: candidates in order, each with what speaks for or against it."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence

import msgspec

#: Orders of environment variables; what has a slash in it is a path. `NAME:-PATH`: the path where NAME is not set.
PRESETS: dict[str, tuple[str, ...]] = {
    "seed-3.1": (
        "PEGASUS_WN_TMP",
        "OSG_WN_TMP",
        "TG_NODE_SCRATCH",
        "TG_CLUSTER_SCRATCH",
        "OSG_DATA",
        "_CONDOR_SCRATCH_DIR",
        "SCRATCH",
        "TMPDIR",
        "TMP",
        "/tmp",
    ),
    "pegasus-5": (
        "PEGASUS_WN_TMP",
        "_CONDOR_SCRATCH_DIR:-.",
        "OSG_WN_TMP",
        "TG_NODE_SCRATCH",
        "TG_CLUSTER_SCRATCH",
        "SCRATCH",
        "TMPDIR",
        "TMP",
        "/tmp",
    ),
}
_NETWORK = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "lustre", "gpfs", "ceph", "beegfs", "afs", "fuse.sshfs", "9p", "panfs", "orangefs"}
)
_MEMORY = frozenset({"tmpfs", "ramfs"})
#: File systems that set space aside at once when asked, so that a quota shows before it hurts.
_ALLOCATES = frozenset({"ext4", "xfs", "btrfs"})
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_RDONLY, _NOEXEC = 1, 8


class Place(msgspec.Struct, frozen=True):
    """One candidate. `why` is empty if it fits, else tells what is wrong. `reserved_...` is other pilots' share.

    `tight`: it lacks room, which may be back in a moment.
    """

    name: str
    path: str
    why: str = ""
    free_bytes: int = 0
    free_inodes: int = 0
    reserved_bytes: int = 0
    reserved_inodes: int = 0
    fs_type: str = ""
    noexec: bool = False
    tight: bool = False

    @property
    def fits(self) -> bool:
        """Whether a work directory can be made there."""
        return not self.why

    @property
    def rank(self) -> tuple[int, int]:
        """For the choice of the best: local disk, then network, then memory; there the most free space."""
        kind = 2 if self.fs_type in _MEMORY else 1 if self.fs_type in _NETWORK else 0
        return (kind, -(self.free_bytes - self.reserved_bytes))


def order_of(words: str) -> tuple[str, ...]:
    """A preset's name, or variables and paths separated by commas, or by blanks where there is no comma.

    Raises `ValueError` for an empty one.
    """
    if words in PRESETS:
        return PRESETS[words]
    names = tuple(filter(None, (word.strip() for word in words.split(",")))) if "," in words else tuple(words.split())
    if not names:
        raise ValueError("the order names nothing")
    return names


def need_bytes(text: str, minimum_kib: str = "") -> int:
    """A number of bytes as people write it (`2G`); else the minimum in KiB; else 1,000,000 KiB.

    Raises `ValueError`.
    """
    if not text:
        return int(minimum_kib) * 1024 if minimum_kib.isdigit() else 1_000_000 * 1024
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?", text.strip().lower())
    if found is None:
        raise ValueError(f"{text!r} is no size; try 500M or 2G")
    return int(float(found[1]) * _UNITS[found[2]])


def survey(
    environment: Mapping[str, str],
    order: Sequence[str],
    need_bytes: int,
    need_inodes: int = 0,
    reserved: Callable[[str], tuple[int, int]] = lambda path: (0, 0),
    set_aside: bool = True,
) -> list[Place]:
    """Look at every candidate in order. `reserved` tells the bytes and files that other pilots have claimed there.

    With `set_aside` the bytes are allocated for a moment, where the file system can: then a quota shows.
    """
    places: list[Place] = []
    seen: set[str] = set()
    for name in order:
        name, path = _named(name, environment)
        if not path:
            places.append(Place(name, "", "not set"))
            continue
        path = os.path.abspath(path)
        if path in seen:
            places.append(Place(name, path, "the same as an earlier one"))
            continue
        seen.add(path)
        places.append(_look(name, path, need_bytes, need_inodes, reserved, set_aside))
    return places


def choose(places: Sequence[Place], best: bool = False) -> Place | None:
    """The first that fits, or the best of those that fit; None if none does."""
    fitting = [place for place in places if place.fits]
    if not fitting:
        return None
    return min(fitting, key=lambda place: place.rank) if best else fitting[0]


def paths_of(environment: Mapping[str, str], order: Sequence[str]) -> list[str]:
    """The candidates of an order that are set, absolute, each once."""
    named = (_named(name, environment)[1] for name in order)
    return list(dict.fromkeys(os.path.abspath(path) for path in named if path))


def on_network(path: str) -> bool:
    """Whether other hosts may use the file system too."""
    return _fs_type(path) in _NETWORK


def _named(word: str, environment: Mapping[str, str]) -> tuple[str, str]:
    """The name and the path of a word of the order; the path is empty for a variable that is not set."""
    name, _, default = word.partition(":-")
    return (name, name) if "/" in name else (name, environment.get(name, "") or default)


def _look(
    name: str,
    path: str,
    need_bytes: int,
    need_inodes: int,
    reserved: Callable[[str], tuple[int, int]],
    set_aside: bool,
) -> Place:
    try:
        found = os.statvfs(path)
    except OSError as error:
        return Place(name, path, error.strerror or str(error))
    fs_type = _fs_type(path)
    claimed = reserved(path)
    place = Place(
        name=name,
        path=path,
        free_bytes=found.f_bavail * found.f_frsize,
        free_inodes=found.f_favail,
        reserved_bytes=claimed[0],
        reserved_inodes=claimed[1],
        fs_type=fs_type,
        noexec=bool(found.f_flag & _NOEXEC),
    )
    free = place.free_bytes - place.reserved_bytes
    inodes = place.free_inodes - place.reserved_inodes
    why, tight = "", False
    if not os.path.isdir(path):
        why = "not a directory"
    elif found.f_flag & _RDONLY:
        why = "read-only"
    elif free < need_bytes:
        why, tight = _lacking("bytes", place.free_bytes, place.reserved_bytes, need_bytes), True
    elif found.f_files and inodes < need_inodes:
        why, tight = _lacking("inodes", place.free_inodes, place.reserved_inodes, need_inodes), True
    else:
        why = _try_to_write(path, need_bytes if set_aside and fs_type in _ALLOCATES else 0)
    return msgspec.structs.replace(place, why=why, tight=tight)


def _lacking(what: str, free: int, reserved: int, need: int) -> str:
    def told(count: int) -> str:
        return amount(count) if what == "bytes" else f"{count} {what}"

    claimed = f", {told(reserved)} of it claimed by other pilots" if reserved else ""
    return f"{told(free)} free{claimed}, {told(need)} needed"


def amount(count: int) -> str:
    """Bytes for people, with three decimals: `2.000 GiB`."""
    for unit, letter in (("t", "TiB"), ("g", "GiB"), ("m", "MiB")):
        if count >= _UNITS[unit]:
            return f"{count / _UNITS[unit]:.3f} {letter}"
    return f"{count} bytes"


def _try_to_write(path: str, size: int) -> str:
    """What keeps us from writing there: nothing, or the system's own words. A quota shows when space is set aside."""
    try:
        with tempfile.TemporaryFile(dir=path) as stream:
            stream.write(b"x")
            stream.flush()
            if size:
                os.posix_fallocate(stream.fileno(), 0, size)
    except OSError as error:
        return f"cannot be written: {error.strerror}"
    return ""


def _fs_type(path: str) -> str:
    """The type of the file system, as the kernel's mount table has it; empty if it cannot be told."""
    real = os.path.realpath(path)
    best, kind = "", ""
    try:
        with open("/proc/self/mounts", encoding="utf-8", errors="surrogateescape") as stream:
            for line in stream:
                words = line.split(" ")
                point = words[1].encode("latin-1", "replace").decode("unicode_escape", "replace")
                inside = real == point or real.startswith(point.rstrip("/") + "/")
                if inside and len(point) >= len(best):
                    best, kind = point, words[2]
    except (OSError, IndexError):
        return kind
    return kind
