"""Where this process may make cgroups: found out once, left as it was found."""

from __future__ import annotations

import os
from pathlib import Path

from pilot.lib import cgroup_v1, cgroup_v2
from pilot.lib.cgroup import PREFIX, Bounds, Group, field, put, text
from pilot.lib.procfs import Proc

_ASIDE = "-aside"


class Ground:
    """The directories below which groups are made. Names begin with this process's number and birth time, so that a
    later pilot knows which groups belong to nobody any more.

    On v2 a directory that hands controllers down may hold no processes itself: the pilot (and what is with it in its
    cgroup, if that is only its own kin or was started with it, as the other ends of its pipes are) moves into a group
    beside those of the payloads, and back in `restore`, unless another pilot works there by then. Where a pilot that
    was killed left its kin there, the next one takes the place over.
    """

    def __init__(self, unified: Path | None, older: dict[str, Path], mark: str, aside: Path | None = None) -> None:
        self._unified = unified
        self._older = older
        self._mark = mark
        self._aside = aside

    @classmethod
    def prepare(cls, proc: Proc | None = None) -> Ground | None:
        """Find the ground; None where no group with a memory controller can be made."""
        proc = proc or Proc()
        me = proc.stat(os.getpid())
        mark = f"{PREFIX}{os.getpid()}.{me.start_ticks if me else 0}"
        unified, older = own_directories(proc)
        if unified is not None and "memory" in text(unified / "cgroup.controllers").split():
            ground = cls(unified, {}, mark)
            if unified.name.startswith(PREFIX) and unified.name.endswith(_ASIDE):
                ground = cls(unified.parent, {}, mark, aside=unified)
            ground._sweep(proc)
            if ground._aside or cgroup_v2.hand_down(unified) or ground._step_aside(proc):
                if ground._tried():
                    return ground
                ground.restore()
            return None
        if "memory" not in older:
            return None
        ground = cls(None, older | ({"unified": unified} if unified else {}), mark)
        ground._sweep(proc)
        return ground if ground._tried() else None

    def make(self, name: str, bounds: Bounds | None = None) -> Group | None:
        """Make a group for one payload; None if it cannot be made (any more)."""
        full = f"{self._mark}-{name}"
        if self._unified is not None:
            return cgroup_v2.make(self._unified / full, bounds or Bounds())
        return cgroup_v1.make(self._older, full, bounds or Bounds())

    def restore(self) -> None:
        """Leave the ground as it was found; groups of payloads are to be removed before."""
        if self._unified is not None and self._aside is not None and not self._others():
            cgroup_v2.take_back(self._unified)
            for pid in text(self._aside / "cgroup.procs").split():
                put(self._unified / "cgroup.procs", pid)
            cgroup_v2.V2Group(self._aside).remove()
            self._aside = None

    def _tried(self) -> bool:
        group = self.make("try")
        return group is not None and group.remove()

    def _step_aside(self, proc: Proc) -> bool:
        """Empty our own cgroup, if nobody but our kin is in it, so that it can hand controllers down."""
        assert self._unified is not None
        inside = [int(pid) for pid in text(self._unified / "cgroup.procs").split()]
        kin = set(proc.tree([os.getpid()])) | set(_ancestors(proc))
        me = proc.stat(os.getpid())
        kin |= {pid for pid in inside if me and (stat := proc.stat(pid)) and stat.session == me.session}
        aside = self._unified / f"{self._mark}{_ASIDE}"
        if not set(inside) <= kin:
            return False
        try:
            aside.mkdir()
        except OSError:
            return False
        self._aside = aside
        moved = all([put(aside / "cgroup.procs", str(pid)) for pid in inside])
        if moved and cgroup_v2.hand_down(self._unified):
            return True
        self.restore()
        return False

    def _sweep(self, proc: Proc) -> None:
        """Remove empty groups of pilots that are dead; the kernel refuses to remove one that is not empty."""
        for parent in {self._unified, *self._older.values()} - {None}:
            for stale in Path(parent or "").glob(f"{PREFIX}*.*-*"):
                if _owned(stale, proc) is False:
                    cgroup_v2.V2Group(stale).remove()

    def _others(self) -> bool:
        """Whether another pilot that lives has processes in groups here."""
        proc, there = Proc(), Path(self._unified or "").glob(f"{PREFIX}*.*-*")
        foreign = (group for group in there if not group.name.startswith(f"{self._mark}-"))
        return any(_owned(group, proc) and field(text(group / "cgroup.events"), "populated") for group in foreign)


def _owned(group: Path, proc: Proc) -> bool | None:
    """Whether the pilot that made this group lives; None where its name tells of none."""
    pid, _, ticks = group.name[len(PREFIX) :].partition("-")[0].partition(".")
    stat = proc.stat(int(pid)) if pid.isdecimal() else None
    return stat is not None and str(stat.start_ticks) == ticks if pid.isdecimal() else None


def _ancestors(proc: Proc) -> list[int]:
    found = []
    stat = proc.stat(os.getpid())
    while stat is not None and stat.parent > 0:
        found.append(stat.parent)
        stat = proc.stat(stat.parent)
    return found


def group_of(pid: int, proc: Proc) -> Group | None:
    """The group that somebody else (a container runtime) put a process into; None if it is the one we are in."""
    unified, older = own_directories(proc, str(pid))
    mine = own_directories(proc)
    if "memory" in older:
        return cgroup_v1.V1Group(list(dict.fromkeys(older.values()))) if older["memory"] != mine[1]["memory"] else None
    return cgroup_v2.V2Group(unified) if unified is not None and unified != mine[0] else None


def own_directories(proc: Proc, whose: str = "self") -> tuple[Path | None, dict[str, Path]]:
    """The directories of a process's own cgroups: of cgroup2, and of each v1 controller."""
    paths: dict[str, str] = {}
    for line in (proc.read(f"{whose}/cgroup") or b"").decode().splitlines():
        _, controllers, path = line.split(":", 2)
        for name in controllers.split(","):
            paths[name] = path
    unified: Path | None = None
    older: dict[str, Path] = {}
    for line in (proc.read("self/mountinfo") or b"").decode().splitlines():
        left, _, right = line.partition(" - ")
        root, mount = left.split()[3:5]
        kind, _, options = right.split()[:3]
        if kind == "cgroup2" and "" in paths:
            unified = unified or _inside(Path(mount), root, paths[""])
        elif kind == "cgroup":
            for name in options.split(","):
                if name in cgroup_v1.CONTROLLERS and name in paths:
                    older.setdefault(name, _inside(Path(mount), root, paths[name]))
    return unified, older


def _inside(mount: Path, root: str, path: str) -> Path:
    """Where a cgroup path is seen below a mount that may show only a part of the hierarchy."""
    relative = path[len(root) :] if root != "/" and path.startswith(root) else path
    wanted = mount / relative.lstrip("/")
    return wanted if wanted.is_dir() else mount
