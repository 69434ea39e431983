"""A group of the older hierarchies (cgroup v1): one directory for each controller; one of cgroup2 for pressure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pilot.lib.cgroup import Bounds, Group, Reading, field, kill_each, number, put, stalled_s, text
from pilot.lib.procfs import TICKS_PER_S

CONTROLLERS = ("memory", "cpu", "cpuacct", "pids", "cpuset", "blkio", "freezer")
_PERIOD_US = 100_000
#: A file by which each controller's directory is known.
_MARKS = {
    "memory": "memory.limit_in_bytes",
    "cpu": "cpu.cfs_quota_us",
    "cpuacct": "cpuacct.usage",
    "pids": "pids.max",
    "cpuset": "cpuset.cpus",
    "blkio": "blkio.throttle.io_service_bytes_recursive",
    "freezer": "freezer.state",
    "unified": "cgroup.controllers",
}


class V1Group(Group):
    """Several directories; two controllers may share one (`cpu,cpuacct`)."""

    def __init__(self, directories: Sequence[Path], enforced: frozenset[str] = frozenset()) -> None:
        super().__init__(directories, enforced)
        self._at = {name: at for name, mark in _MARKS.items() for at in self.directories if (at / mark).exists()}
        self._prefix = {name: f"{at}/" for name, at in self._at.items()}

    def _file(self, controller: str, name: str) -> str:
        prefix = self._prefix.get(controller)
        return text(prefix + name) if prefix else ""

    def read(self) -> Reading:
        """The figures now; about ten small files."""
        memory = self._file("memory", "memory.stat")
        user_s, system_s = self._cpu()
        read_bytes, write_bytes = _block_io(self._file("blkio", _MARKS["blkio"]))
        return Reading(
            memory_kb=number(self._file("memory", "memory.usage_in_bytes")) >> 10,
            peak_kb=number(self._file("memory", "memory.max_usage_in_bytes")) >> 10,
            mapped_kb=(field(memory, "total_rss") + field(memory, "total_mapped_file")) >> 10,
            swap_kb=field(memory, "total_swap") >> 10,
            user_s=user_s,
            system_s=system_s,
            throttled_s=field(self._file("cpu", "cpu.stat"), "throttled_time") / 1e9,
            read_bytes=read_bytes,
            write_bytes=write_bytes,
            processes=number(self._file("pids", "pids.current")),
            oom_kills=field(self._file("memory", "memory.oom_control"), "oom_kill"),
            stalled_cpu_s=stalled_s(self._file("unified", "cpu.pressure")),
            stalled_memory_s=stalled_s(self._file("unified", "memory.pressure")),
            stalled_io_s=stalled_s(self._file("unified", "io.pressure")),
        )

    def _cpu(self) -> tuple[float, float]:
        """The exact total, split as the clock ticks are."""
        total_s = number(self._file("cpuacct", "cpuacct.usage")) / 1e9
        ticks = self._file("cpuacct", "cpuacct.stat")
        user_s, system_s = field(ticks, "user") / TICKS_PER_S, field(ticks, "system") / TICKS_PER_S
        share = user_s / (user_s + system_s) if user_s + system_s else 1.0
        return total_s * share, total_s * (1 - share)

    def kill(self) -> None:
        """By `cgroup.kill` of the cgroup2 directory where there is one, else by freezing and signalling each member."""
        unified, freezer = self._at.get("unified"), self._at.get("freezer")
        if unified and put(unified / "cgroup.kill", "1"):
            return
        if freezer:
            put(freezer / "freezer.state", "FROZEN")
        kill_each(self)
        if freezer:
            put(freezer / "freezer.state", "THAWED")


def make(parents: Mapping[str, Path], name: str, bounds: Bounds) -> V1Group | None:
    """Make the group below every controller's directory that allows it; None where the memory controller does not."""
    made: dict[Path, None] = {}
    for parent in parents.values():
        directory = parent / name
        if directory in made:
            continue
        try:
            directory.mkdir()
        except OSError:
            continue
        if (directory / "cpuset.cpus").exists():
            for file in ("cpuset.cpus", "cpuset.mems"):
                put(directory / file, text(parent / file).strip())
        made[directory] = None
    group = V1Group(list(made))
    if "memory" not in group._at:
        group.remove()
        return None
    return V1Group(list(made), frozenset(_bound(group._at, bounds)))


def _bound(at: Mapping[str, Path], bounds: Bounds) -> list[str]:
    held = []
    if bounds.memory_mb and put(at["memory"] / "memory.limit_in_bytes", str(bounds.memory_mb << 20)):
        held.append("memory_mb")
        both = str((bounds.memory_mb + (bounds.swap_mb or 0)) << 20)
        if bounds.swap_mb is not None and put(at["memory"] / "memory.memsw.limit_in_bytes", both):
            held.append("swap_mb")
    if bounds.cores and "cpu" in at:
        put(at["cpu"] / "cpu.cfs_period_us", str(_PERIOD_US))
        if put(at["cpu"] / "cpu.cfs_quota_us", str(int(bounds.cores * _PERIOD_US))):
            held.append("cores")
    if bounds.processes and "pids" in at and put(at["pids"] / "pids.max", str(bounds.processes)):
        held.append("processes")
    for name, file in (("cpus", "cpuset.cpus"), ("memory_nodes", "cpuset.mems")):
        wanted = getattr(bounds, name)
        if wanted and "cpuset" in at and put(at["cpuset"] / file, ",".join(map(str, sorted(wanted)))):
            held.append(name)
    return held


def _block_io(content: str) -> tuple[int, int]:
    """Bytes read and written over all devices: `8:0 Read 4096` per line."""
    read_bytes = write_bytes = 0
    for line in content.splitlines():
        words = line.split()
        if len(words) == 3 and words[2].isdecimal():
            read_bytes += int(words[2]) if words[1] == "Read" else 0
            write_bytes += int(words[2]) if words[1] == "Write" else 0
    return read_bytes, write_bytes
