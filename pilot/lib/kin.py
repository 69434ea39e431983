"""Which processes belong to a payload, and signalling exactly those.

A process is proven to belong to a payload when it is its first process (number and birth time), carries its token in
the environment, is in its cgroup, is in a session that holds a proven process or descends from one. A session's
number is not given to anybody else while one member lives, so one proven member proves them all.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from pilot.lib.cgroup import Group, members
from pilot.lib.hold import Hold
from pilot.lib.procfs import Proc, Stat

TOKEN = "PILOT_TOKEN"
"""The environment variable that marks every process of a payload."""


class Identity(msgspec.Struct, frozen=True, omit_defaults=True):
    """What identifies a payload beyond the life of its pilot; kept in the PilotDB.

    `birth` is `<boot id>:<clock ticks from boot to the start of the first process>`, `sid` its session,
    `cgroup` the identity of its cgroup (`pilot.lib.cgroup`) or empty.
    """

    pid: int
    birth: str
    sid: int
    token: str
    cgroup: str = ""

    @property
    def start_ticks(self) -> int:
        """When the first process started, in clock ticks since boot."""
        return int(self.birth.rpartition(":")[2] or 0)


def living(identity: Identity, proc: Proc) -> list[int]:
    """The payload's living processes among the descendants of this process: complete where it is the subreaper."""
    me = os.getpid()
    tree = proc.tree([identity.pid])
    first = tree.get(identity.pid)
    if first is None or first.start_ticks != identity.start_ticks:
        tree = {}
    for pid in proc.children(me):
        stat = None if pid in tree else proc.stat(pid)
        if stat is not None and (_in_session(stat, identity, me) or proc.has_variable(pid, TOKEN, identity.token)):
            tree.update(proc.tree([pid]))
    for pid in members(identity.cgroup):
        stat = None if pid in tree or pid == me else proc.stat(pid)
        if stat is not None:
            tree[pid] = stat
    return [pid for pid, stat in tree.items() if stat.alive]


def _in_session(stat: Stat, identity: Identity, me: int) -> bool:
    """Our own child in the payload's session: that came about by the payload alone, so the number is enough."""
    return stat.session == identity.sid and stat.start_ticks >= identity.start_ticks and stat.parent == me


def anywhere(identity: Identity, proc: Proc) -> list[int]:
    """The payload's living processes on the whole machine; nothing after a restart of the machine."""
    if identity.birth.rpartition(":")[0] != proc.boot_id():
        return []
    stats = proc.everyone()
    found = _proven(stats, identity, proc)
    me = os.getpid()
    alive = [pid for pid in found if stats[pid].alive and pid != me]
    return sorted(alive, key=lambda pid: (stats[pid].start_ticks, pid))  # parents first: none goes on without its child


def _proven(stats: Mapping[int, Stat], identity: Identity, proc: Proc) -> set[int]:
    """Close the set of directly proven processes under sessions and descent; never reaches our own session.

    Session 0 is what a process sees of sessions outside its PID namespace: it proves nothing.
    """
    nobody = {0, os.getsid(0)}
    found = {pid for pid in members(identity.cgroup) if pid in stats}
    for pid, stat in stats.items():
        first = pid == identity.pid and stat.start_ticks == identity.start_ticks
        later = stat.start_ticks >= identity.start_ticks
        if first or (later and proc.has_variable(pid, TOKEN, identity.token)):
            found.add(pid)
    grown = -1
    while grown != len(found):
        grown = len(found)
        sessions = {stats[pid].session for pid in found} - nobody
        for pid, stat in stats.items():
            if stat.session in sessions or stat.parent in found:
                found.add(pid)
    return found


def send(pid: int, start_ticks: int, number: int, proc: Proc) -> bool:
    """Signal exactly this process: it is held, the birth time proves it."""
    try:
        hold = Hold(pid, proc)
    except OSError:
        return False
    try:
        stat = proc.stat(pid)
        if stat is None or stat.start_ticks != start_ticks:
            return False
        hold.send(number)
        return True
    except (ProcessLookupError, PermissionError):
        return False
    finally:
        hold.close()


def signal_all(identity: Identity, number: int, proc: Proc) -> list[int]:
    """Signal the payload's living processes among our descendants, parents first; tells who got it."""
    return _signal_each(living(identity, proc), number, proc)


def stop_all(identity: Identity, proc: Proc, rounds: int = 500) -> None:
    """Stop all members, so that none can have children any more.

    A payload may hop from process to process faster than one look at it. So rounds go on until one of them finds
    nobody to stop and, at its begin and end, the same children of ours, dead ones included, as the round before.
    """
    before: set[int] | None = None
    for _ in range(rounds):
        ours = set(proc.children(os.getpid()))
        moving = [
            pid for pid in living(identity, proc) if (stat := proc.stat(pid)) is not None and stat.state not in "Tt"
        ]
        told = _signal_each(moving, signal.SIGSTOP, proc)
        after = set(proc.children(os.getpid()))
        if not told and ours == after == before:
            return
        before = after


def _signal_each(pids: Iterable[int], number: int, proc: Proc) -> list[int]:
    told = []
    for pid in pids:
        stat = proc.stat(pid)
        if stat is not None and stat.alive and send(pid, stat.start_ticks, number, proc):
            told.append(pid)
    return told


def signal_and_wait(pids: list[int], number: int, patience_s: float, proc: Proc) -> None:
    """Signal these processes and wait until all have ended or the patience is over."""
    with _pinned(pids, proc) as fds:
        _signal_each(pids, number, proc)
        _wait(fds, patience_s)


def wait_for(pids: list[int], patience_s: float) -> None:
    """Wait until these processes have ended or the patience is over."""
    with _pinned(pids) as fds:
        _wait(fds, patience_s)


@contextlib.contextmanager
def _pinned(pids: Iterable[int], proc: Proc | None = None) -> Iterator[list[int]]:
    """Descriptors to wait for, of those that still exist."""
    holds = []
    try:
        for pid in pids:
            with contextlib.suppress(OSError):
                holds.append(Hold(pid, proc))
        yield [hold.fd for hold in holds]
    finally:
        for hold in holds:
            hold.close()


def _wait(fds: list[int], patience_s: float) -> None:
    waiting = select.poll()
    for fd in fds:
        waiting.register(fd, select.POLLIN)
    end = time.monotonic() + patience_s
    left = len(fds)
    while left and (remaining_s := end - time.monotonic()) > 0:
        for fd, _ in waiting.poll(remaining_s * 1000):
            waiting.unregister(fd)
            left -= 1


def move(identity: Identity, group: Group, proc: Proc) -> None:
    """Put a payload that has just started into a cgroup, with all that it may have started already."""
    inside: set[int] = set()
    for _ in range(8):
        outside = [pid for pid in living(identity, proc) if pid not in inside]
        if not outside:
            return
        for pid in outside:
            group.add(pid)
        inside.update(outside)
