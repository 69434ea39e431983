"""A cgroup for each payload, where this machine lets us make one: limits, figures and an end for all of its processes.

`Ground.prepare` finds out once what there is: cgroup v2, v1, or nothing. A `Group` works alike on both.
"""

from __future__ import annotations

import os
import signal
from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path

import msgspec

from pilot.lib.hold import Hold

PREFIX = "pilot-"


class Bounds(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the members of a group may use up together; 0 and empty mean: no limit.

    `cores` is a hard quota of CPU time, `cpus` and `memory_nodes` a set of processors and NUMA nodes.
    `swap_mb` is what may be swapped out beyond `memory_mb`; None leaves the machine's rule.
    """

    memory_mb: int = 0
    swap_mb: int | None = None
    cores: float = 0.0
    processes: int = 0
    cpus: frozenset[int] = frozenset()
    memory_nodes: frozenset[int] = frozenset()


class Reading(msgspec.Struct, frozen=True, omit_defaults=True):
    """The figures of a group: memory in kB, times in s, I/O of block devices in bytes. 0 where the kernel keeps none.

    `memory_kb` and `peak_kb` hold the page cache too; `mapped_kb` is what is mapped by processes (about their PSS).
    `stalled_*_s` are totals of the time in which some member waited for the resource.
    """

    memory_kb: int = 0
    peak_kb: int = 0
    mapped_kb: int = 0
    swap_kb: int = 0
    user_s: float = 0.0
    system_s: float = 0.0
    throttled_s: float = 0.0
    read_bytes: int = 0
    write_bytes: int = 0
    processes: int = 0
    oom_kills: int = 0
    stalled_cpu_s: float = 0.0
    stalled_memory_s: float = 0.0
    stalled_io_s: float = 0.0


class Group(ABC):
    """One cgroup (on v1: one directory per controller), made for one payload.

    `enforced` names the fields of `Bounds` that the kernel really holds. All methods may be called at any time and
    from any thread; after `remove` they find nothing.
    """

    def __init__(self, directories: Iterable[Path], enforced: Iterable[str] = ()) -> None:
        self.directories = tuple(directories)
        self.enforced = frozenset(enforced)

    @property
    def identity(self) -> str:
        """What finds the group again after a restart of the pilot: its directories, joined by colons."""
        return ":".join(map(str, self.directories))

    def add(self, pid: int) -> None:
        """Move a process into the group; one that has ended meanwhile is no error."""
        for directory in self.directories:
            put(directory / "cgroup.procs", str(pid))

    def pids(self) -> list[int]:
        """The processes in the group and in groups below it."""
        return members(self.identity)

    @abstractmethod
    def read(self) -> Reading:
        """The figures now."""

    @abstractmethod
    def kill(self) -> None:
        """End all members by SIGKILL, those born meanwhile included. Returns at once."""

    def remove(self) -> bool:
        """Remove the group and what was made below it; False while something still runs in it."""
        return all([_remove_tree(directory) for directory in self.directories])


def members(identity: str) -> list[int]:
    """The processes in a group known by its `identity`, and in the groups below it."""
    found: dict[int, None] = {}
    for top in filter(None, identity.split(":")):
        for directory, _, _ in os.walk(top):
            found |= dict.fromkeys(map(int, text(Path(directory, "cgroup.procs")).split()))
    return [pid for pid in found if pid > 1]


def attach(identity: str) -> Group | None:
    """The group that an earlier pilot made; None for an empty identity."""
    from pilot.lib.cgroup_v1 import V1Group
    from pilot.lib.cgroup_v2 import V2Group

    directories = [Path(name) for name in identity.split(":") if name]
    if not directories:
        return None
    if len(directories) == 1 and not (directories[0] / "tasks").exists():
        return V2Group(directories[0])
    return V1Group(directories)


def text(path: Path | str) -> str:
    """A control file's content, empty if it is not there."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return os.read(fd, 65536).decode()
    except OSError:
        return ""
    finally:
        os.close(fd)


def put(path: Path, value: str) -> bool:
    """Write a control file in one call; False if the kernel refuses."""
    try:
        with open(path, "wb", buffering=0) as file:
            file.write(value.encode())
    except OSError:
        return False
    return True


def number(content: str) -> int:
    """A control file's single number; 0 for `max` and for nothing."""
    content = content.strip()
    return int(content) if content.isdecimal() else 0


def field(content: str, name: str) -> int:
    """The value of one `name value` line of a control file; 0 if there is no such line."""
    at = 0 if content.startswith(name + " ") else content.find(f"\n{name} ") + 1
    if at == 0 and not content.startswith(name + " "):
        return 0
    return number(content[at + len(name) + 1 :].partition("\n")[0])


def stalled_s(content: str) -> float:
    """The `some` total of a pressure file, in s."""
    _, found, rest = content.partition("total=")
    return int(rest.split(None, 1)[0]) / 1e6 if found else 0.0


def kill_each(group: Group) -> None:
    """SIGKILL for each member: held first, and signalled only if it is still a member then."""
    for pid in group.pids():
        try:
            hold = Hold(pid)
        except OSError:
            continue
        try:
            if pid in group.pids():
                hold.send(signal.SIGKILL)
        except OSError:
            continue
        finally:
            hold.close()


def _remove_tree(directory: Path) -> bool:
    for below, _, _ in os.walk(directory, topdown=False):
        try:
            os.rmdir(below)
        except FileNotFoundError:
            continue
        except OSError:
            return False
    return True
