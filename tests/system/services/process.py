"""Processes of the services: started in a session of their own, found again and ended only by proof.

A process is a service's own if it is a leader that was written down (pid and time of birth), if it belongs to such a
leader's session, if it descends from one, or if its environment carries the service's mark. Nothing else is signalled.
"""

import os
import select
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.system.services.ground import ServiceFailed, read_json, write_json

MARK = "PILOT_TEST_SERVICE"
READY_WITHIN_S = 60.0
GRACE_S = 10.0
LOOK_EVERY_S = 0.05
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Process:
    """One process: its number, the clock tick of its birth, its parent and its session."""

    pid: int
    birth: int
    parent: int
    session: int


def spawn(
    folder: Path,
    argv: Sequence[str | Path],
    *,
    name: str | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    user: str | None = None,
    private_mounts: Sequence[tuple[Path, Path]] = (),
) -> Process:
    """Starts a server in the foreground of a new session, its output in `folder/log/NAME.log`, and writes it down.

    `user` is whom it runs as; `private_mounts` are (source, target) binds which that process alone sees. All of this
    is done by programs which exec the next one, so the pid is the server's."""
    name = name or Path(argv[0]).name
    words = ["env", "-C", str(cwd or folder)]
    if private_mounts:
        binds = "".join(f"mount --bind '{source}' '{target}' && " for source, target in private_mounts)
        words += ["unshare", "--mount", "sh", "-c", f'{binds}exec "$@"', "sh"]
    if user:
        words += ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups"]
    words += [str(word) for word in argv]
    log = folder / "log" / f"{name}.log"
    log.parent.mkdir(exist_ok=True)
    pid = os.posix_spawn(
        "/usr/bin/env",
        words,
        {"PATH": PATH, "HOME": str(folder), "LANG": "C.UTF-8", **(env or {}), MARK: str(folder)},
        setsid=True,
        setsigdef=[signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ],
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
    )
    process = _look(pid)
    if process is None:
        raise ServiceFailed(f"{name} ended at once\n{tail(folder)}")
    known = read_json(folder / "pids.json") or []
    write_json(folder / "pids.json", [*known, {"pid": pid, "birth": process.birth, "name": name}])
    return process


def wait_until(
    folder: Path, ready: Callable[[], bool], what: str, *watched: Process, within_s: float = READY_WITHIN_S
) -> None:
    """Returns once `ready()` says so; ServiceFailed with the logs' ends when a watched process dies or time is up."""
    deadline = time.monotonic() + within_s
    while not ready():
        if dead := [process for process in watched if not alive(process)]:
            raise ServiceFailed(f"{what}: process {dead[0].pid} ended\n{tail(folder)}")
        if time.monotonic() > deadline:
            raise ServiceFailed(f"{what}: not ready within {within_s:.0f} s\n{tail(folder)}")
        time.sleep(LOOK_EVERY_S)


def alive(process: Process) -> bool:
    """Whether exactly this process still runs; one that is ours and has ended is reaped on the way."""
    return (now := _look(process.pid)) is not None and now.birth == process.birth


def ended(process: Process, within_s: float) -> bool:
    """Waits for the end of a process; False if it still runs after that time."""
    try:
        fd = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return True
    try:
        if alive(process):
            select.select([fd], [], [], max(0.0, within_s))
    finally:
        os.close(fd)
    return not alive(process)


def leaders(folder: Path) -> list[Process]:
    """The processes written down for this service which still run."""
    found = []
    for entry in read_json(folder / "pids.json") or []:
        process = _look(entry["pid"])
        if process and process.birth == entry["birth"]:
            found.append(process)
    return found


def all_written_down_run(folder: Path) -> bool:
    """True if every process that `start` left behind is still there."""
    return len(leaders(folder)) == len(read_json(folder / "pids.json") or [])


def end(folder: Path, grace_s: float = GRACE_S) -> None:
    """Ends every process of this service: TERM to the leaders, `grace_s` to leave, then KILL to all that is left."""
    first = leaders(folder)
    kin = _kin(folder, first)
    for process in first:
        _signal(process, signal.SIGTERM)
    deadline = time.monotonic() + grace_s
    for process in first:
        ended(process, deadline - time.monotonic())
    deadline = time.monotonic() + GRACE_S
    while left := [process for process in {*kin, *_kin(folder, [])} if alive(process)]:
        if time.monotonic() > deadline:
            raise ServiceFailed(f"{folder.name}: processes survive KILL: {[p.pid for p in left]}")
        kin = {*left, *_kin(folder, left)}
        for process in left:
            _signal(process, signal.SIGKILL)
        for process in left:
            ended(process, 1)
    (folder / "pids.json").unlink(missing_ok=True)


def tail(folder: Path, lines: int = 25) -> str:
    """The last lines of each log of a service, for the message of a failure."""
    parts = []
    for log in sorted((folder / "log").glob("**/*")):
        if log.is_file() and (text := log.read_text(errors="replace").splitlines()[-lines:]):
            parts.append(f"--- {log.name}\n" + "\n".join(text))
    return "\n".join(parts) or "(no log)"


def _kin(folder: Path, seeds: Sequence[Process]) -> set[Process]:
    """The seeds, their sessions, their descendants and every process that carries this service's mark."""
    present = [process for entry in os.listdir("/proc") if entry.isdigit() and (process := _seen(int(entry)))]
    ours = {process for process in present if _marked(process.pid, folder)} | set(seeds)
    sessions = {process.session for process in ours if process.session == process.pid}
    while True:
        pids = {process.pid for process in ours}
        more = {process for process in present if process.parent in pids or process.session in sessions} - ours
        if not more:
            return ours - {process for process in ours if process.pid == os.getpid()}
        ours |= more


def _marked(pid: int, folder: Path) -> bool:
    """A container's monitor keeps but one telling variable of its podman client's environment: that one counts too."""
    try:
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False
    own = (f"{MARK}={folder}/".encode(), f"CONTAINERS_CONF={folder}/".encode())
    return any(variable + b"/" == own[0] or variable.startswith(own) for variable in variables)


def _look(pid: int) -> Process | None:
    """As `_seen`, and reaps the process first if it is a child of ours that has ended."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        pass
    return _seen(pid)


def _seen(pid: int) -> Process | None:
    """What /proc says of a process now; None for one that is gone or only waits to be reaped."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, parent, _, session, *more = stat[stat.rindex(")") + 2 :].split()
    if state in "ZX":
        return None
    return Process(pid, int(more[15]), int(parent), int(session))


def _signal(process: Process, number: signal.Signals) -> None:
    """Through a pidfd, so that the number cannot have passed to another process between the look and the signal."""
    try:
        fd = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return
    try:
        if alive(process):
            signal.pidfd_send_signal(fd, number)
    except ProcessLookupError:
        pass
    finally:
        os.close(fd)
