"""A group of the unified hierarchy (cgroup v2)."""

from __future__ import annotations

from pathlib import Path

from pilot.lib.cgroup import Bounds, Group, Reading, field, kill_each, number, put, stalled_s, text
from pilot.lib.numa import cpu_list

CONTROLLERS = ("memory", "pids", "cpu", "io", "cpuset")
_PERIOD_US = 100_000


class V2Group(Group):
    """One directory holds all controllers that the parent hands down."""

    def __init__(self, directory: Path, enforced: frozenset[str] = frozenset()) -> None:
        super().__init__([directory], enforced)
        self._directory = directory

    def read(self) -> Reading:
        """The figures now; about ten small files."""
        at = str(self._directory)
        cpu, memory = text(at + "/cpu.stat"), text(at + "/memory.stat")
        read_bytes, write_bytes = _block_io(text(at + "/io.stat"))
        return Reading(
            memory_kb=number(text(at + "/memory.current")) >> 10,
            peak_kb=number(text(at + "/memory.peak")) >> 10,
            mapped_kb=(field(memory, "anon") + field(memory, "file_mapped")) >> 10,
            swap_kb=number(text(at + "/memory.swap.current")) >> 10,
            user_s=field(cpu, "user_usec") / 1e6,
            system_s=field(cpu, "system_usec") / 1e6,
            throttled_s=field(cpu, "throttled_usec") / 1e6,
            read_bytes=read_bytes,
            write_bytes=write_bytes,
            processes=number(text(at + "/pids.current")),
            oom_kills=field(text(at + "/memory.events"), "oom_kill"),
            stalled_cpu_s=stalled_s(text(at + "/cpu.pressure")),
            stalled_memory_s=stalled_s(text(at + "/memory.pressure")),
            stalled_io_s=stalled_s(text(at + "/io.pressure")),
        )

    def kill(self) -> None:
        """By `cgroup.kill`; kernels before 5.14 are served by freezing the group and signalling each member."""
        if put(self._directory / "cgroup.kill", "1"):
            return
        put(self._directory / "cgroup.freeze", "1")
        kill_each(self)
        put(self._directory / "cgroup.freeze", "0")


def make(directory: Path, bounds: Bounds) -> V2Group | None:
    """Make the group and set its bounds; None where that is not allowed."""
    try:
        directory.mkdir()
    except OSError:
        return None
    return V2Group(directory, frozenset(_bound(directory, bounds)))


def _bound(directory: Path, bounds: Bounds) -> list[str]:
    held = []
    if bounds.memory_mb and put(directory / "memory.max", str(bounds.memory_mb << 20)):
        put(directory / "memory.oom.group", "1")
        held.append("memory_mb")
    if bounds.swap_mb is not None and put(directory / "memory.swap.max", str(bounds.swap_mb << 20)):
        held.append("swap_mb")
    if bounds.cores and put(directory / "cpu.max", f"{int(bounds.cores * _PERIOD_US)} {_PERIOD_US}"):
        held.append("cores")
    if bounds.processes and put(directory / "pids.max", str(bounds.processes)):
        held.append("processes")
    if bounds.cpus and _confine(directory / "cpuset.cpus", bounds.cpus):
        held.append("cpus")
    if bounds.memory_nodes and _confine(directory / "cpuset.mems", bounds.memory_nodes):
        held.append("memory_nodes")
    return held


def _confine(file: Path, wanted: frozenset[int]) -> bool:
    """Have the group keep to a set. The kernel takes any, and grants of it what the group above has: members would have
    a part alone, or everything; then the set is taken back."""
    if not put(file, ",".join(map(str, sorted(wanted)))):
        return False
    granted = text(f"{file}.effective")
    if granted and cpu_list(granted) != wanted:
        put(file, "\n")
        return False
    return True


def _block_io(content: str) -> tuple[int, int]:
    """Bytes read and written over all devices: `8:0 rbytes=1 wbytes=2 rios=...` per line."""
    fields = [word.partition("=") for line in content.splitlines() for word in line.split()[1:]]
    return (
        sum(int(value) for name, _, value in fields if name == "rbytes"),
        sum(int(value) for name, _, value in fields if name == "wbytes"),
    )


def hand_down(directory: Path) -> bool:
    """Have the groups below a directory get the memory controller, and what else there is; False if refused.

    Memory goes first: the kernel refuses it while processes live in the directory itself, but would then still accept
    the controllers that can divide threads, and leave groups below in which nothing can run.
    """
    there = text(directory / "cgroup.controllers").split()
    given = text(directory / "cgroup.subtree_control").split()
    if "memory" not in given and not ("memory" in there and put(directory / "cgroup.subtree_control", "+memory")):
        return False
    for name in CONTROLLERS:
        if name in there and name not in given:
            put(directory / "cgroup.subtree_control", f"+{name}")
    return True


def take_back(directory: Path) -> None:
    """Undo `hand_down`; needed before processes can live in the directory itself again."""
    for name in text(directory / "cgroup.subtree_control").split():
        put(directory / "cgroup.subtree_control", f"-{name}")
