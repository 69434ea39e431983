"""Starting, ending and collecting processes that are provably our own.

A child has a session of its own, a token in its environment and a birth time; only processes that can be traced back
to one of these (or to our being their subreaper) are ever signalled. Nothing here waits: who wants a grace period
sets a timer between `terminate` and `kill`.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from pilot.core.errors import PayloadExecutionException, PilotError, ResourceUnavailable
from pilot.core.job import Exit
from pilot.lib import kin
from pilot.lib.cgroup import Group
from pilot.lib.hold import Hold
from pilot.lib.kin import TOKEN, Identity
from pilot.lib.orphans import end_all
from pilot.lib.procfs import Io, Proc

_PR_SET_CHILD_SUBREAPER = 36
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_JOIN = 'while [ "$1" != -- ]; do echo 0 >"$1"; shift; done 2>/dev/null; shift; exec "$@"'


class Spent(msgspec.Struct, frozen=True):
    """What a process and all children it waited for used up, known once it was collected: CPU in s, memory in kB.

    In `max_rss_kb` the kernel counts as well what the process was before it became the payload: this pilot.
    `page_faults` bound it from above.
    """

    user_s: float = 0.0
    system_s: float = 0.0
    max_rss_kb: int = 0
    page_faults: int = 0
    io: Io = Io()


class Stray(msgspec.Struct, frozen=True):
    """A process that had lost its parent, came to us as the subreaper, ended and was collected."""

    pid: int
    start_ticks: int
    session: int
    spent: Spent


def become_subreaper() -> bool:
    """Have orphaned descendants become children of this process, not of init; False where that is not to be had."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    return bool(libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)


class Child:
    """A process that we started. `pidfd` gets readable when it has ended; `poll` then collects it.

    `terminate`, `kill`, `members` and `close` may be called at any time and any number of times.
    """

    def __init__(self, popen: subprocess.Popen[bytes], token: str, cgroup: Group | None, proc: Proc) -> None:
        self.pid = popen.pid
        self.sid = popen.pid
        self._hold = Hold(popen.pid, proc)
        self.token = token
        self.cgroup = cgroup
        self.exit: Exit | None = None
        self.spent = Spent()
        self._popen = popen
        self._proc = proc
        self._lock = threading.Lock()
        stat = proc.stat(self.pid)
        self.start_ticks = stat.start_ticks if stat else 0
        self.birth = f"{proc.boot_id()}:{self.start_ticks}"

    @property
    def pidfd(self) -> int:
        """What to wait for, -1 after `close`; without pidfds in the kernel, something that acts like one."""
        return self._hold.fd

    @property
    def identity(self) -> Identity:
        """What a later pilot needs to find, and end, what is left of this one."""
        return Identity(self.pid, self.birth, self.sid, self.token, self.cgroup.identity if self.cgroup else "")

    def poll(self) -> Exit | None:
        """Collect the process if it has ended; None while it runs. Afterwards always the same answer.

        An exit status that somebody else took away counts as 255.
        """
        with self._lock:
            if self.exit is None:
                try:
                    if os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                        return None
                    self.spent, self.exit = _collect(self.pid, self._proc)
                except ChildProcessError:
                    self.exit = Exit(code=255)
                self._popen.returncode = self.exit.status
            return self.exit

    def members(self) -> list[int]:
        """The living processes of this payload, the first process included while it lives, parents first."""
        return kin.living(self.identity, self._proc)

    def signal_group(self, number: int) -> list[int]:
        """Signal every member; tells whom. Members that left the session or the process group are reached as well."""
        return kin.signal_all(self.identity, number, self._proc)

    def terminate(self) -> list[int]:
        """Ask all members to end (SIGTERM, and SIGCONT for those that are stopped)."""
        told = self.signal_group(signal.SIGTERM)
        if told:
            self.signal_group(signal.SIGCONT)
        return told

    def kill(self) -> list[int]:
        """End all members at once, also those that are born meanwhile: all are stopped before the first one ends."""
        if self.cgroup is not None:
            told = self.members()
            self.cgroup.kill()
            return [*told, *(pid for pid in self.signal_group(signal.SIGKILL) if pid not in told)]
        kin.stop_all(self.identity, self._proc)
        return self.signal_group(signal.SIGKILL)

    def close(self) -> None:
        """Let the process go and remove the cgroup; members that are just dying are waited for a moment."""
        if self.cgroup is not None and not self.cgroup.remove():
            kin.wait_for(self.cgroup.pids(), 0.5)
            self.cgroup.remove()
        self._hold.close()


def spawn(
    argv: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    stdout: int,
    stderr: int,
    cpus: frozenset[int] | None = None,
    cgroup: Group | None = None,
    token: str,
    proc: Proc | None = None,
) -> Child:
    """Start a program in a session of its own, with no input and no open files but `stdout` and `stderr`.

    `env` is its whole environment, beside the token. It runs on `cpus` from its first instruction on: the calling
    thread takes that affinity for the moment of the start, and children inherit it. Raises
    `PayloadExecutionException` (no such program or directory, not executable, arguments too long) and
    `ResourceUnavailable` (no more processes or memory).
    """
    own_cpus = os.sched_getaffinity(0) if cpus else set()
    full_env = {**env, TOKEN: token}
    command = list(argv) if cgroup is None else _joining(argv, cwd, full_env, cgroup)
    popen = None
    try:
        if cpus:
            os.sched_setaffinity(0, cpus)
        popen = subprocess.Popen(
            command,
            cwd=cwd,
            env=full_env,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )
        child = Child(popen, token, cgroup, proc or Proc())
    except (OSError, ValueError) as error:
        if popen is not None:
            popen.kill()
            popen.wait()
        raise _translated(error, argv) from error
    finally:
        if cpus:
            os.sched_setaffinity(0, own_cpus)
    if cgroup is not None:
        kin.move(child.identity, cgroup, child._proc)
    return child


def _joining(argv: Sequence[str], cwd: Path, env: Mapping[str, str], group: Group) -> list[str]:
    """The command behind a shell that first moves itself into the group: nothing is ever born outside of it.

    A shell would drop variables whose names it cannot pronounce (`BASH_FUNC_module%%`): with such an environment the
    program is started directly and moved at once. A program that cannot be found is found missing here.
    """
    if not all(_NAME.fullmatch(name) for name in env) or not argv:
        return list(argv)
    program = os.path.join(cwd, argv[0]) if os.path.dirname(argv[0]) else argv[0]
    if shutil.which(program, path=env.get("PATH", os.defpath)) is None:
        raise PayloadExecutionException(f"{argv[0]}: no program of this name can be executed")
    files = [str(directory / "cgroup.procs") for directory in group.directories]
    return ["/bin/sh", "-c", _JOIN if "PWD" in env else "unset PWD; " + _JOIN, "sh", *files, "--", *argv]


def _translated(error: OSError | ValueError, argv: Sequence[str]) -> PilotError:
    what = f"{argv[0] if argv else '(nothing)'}: {error}"
    if isinstance(error, OSError) and error.errno in (errno.EAGAIN, errno.ENOMEM):
        return ResourceUnavailable(what)
    return PayloadExecutionException(what)


def _collect(pid: int, proc: Proc) -> tuple[Spent, Exit]:
    """Take the exit status of an ended child, and before it what only the zombie still tells."""
    io = proc.io(pid) or Io()
    _, status, used = os.wait4(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    ended = Exit(code=code) if code >= 0 else Exit(signal=-code)
    faults = used.ru_minflt + used.ru_majflt
    return Spent(used.ru_utime, used.ru_stime, used.ru_maxrss, faults, io), ended


def reap_strays(sessions: Mapping[int, int], seen: Mapping[int, int], proc: Proc | None = None) -> list[Stray]:
    """Collect ended orphans that came to us, and no child that somebody here waits for.

    An ended child is a stray when its session is one of `sessions` (session -> birth ticks of its leader) without its
    being the leader, or when it is in `seen` (pid -> birth ticks: processes known to be descendants of a payload).
    One in any other session than ours that it does not lead is a stray as well, for whom we start is in our session
    or leads one.
    """
    proc = proc or Proc()
    mine = os.getsid(0)
    strays = []
    for pid in proc.children(os.getpid()):
        stat = proc.stat(pid)
        if stat is None or stat.alive or pid in sessions:
            continue
        foreign = stat.session not in (pid, mine)
        if foreign or stat.session in sessions or seen.get(pid) == stat.start_ticks:
            try:
                spent, _ = _collect(pid, proc)
            except ChildProcessError:
                continue
            strays.append(Stray(pid, stat.start_ticks, stat.session, spent))
    return strays


def survivors(identity: Identity, proc: Proc | None = None) -> list[int]:
    """The living processes of a payload that an earlier pilot started, wherever they hang in the process tree."""
    return kin.anywhere(identity, proc or Proc())


def end_survivors(identity: Identity, grace_s: float, proc: Proc | None = None) -> list[int]:
    """End what an earlier pilot left of a payload: TERM, up to `grace_s`, KILL. Returns what could not be ended.

    Its cgroup is removed.
    """
    return end_all([identity], grace_s, proc)[0]
