"""The process before podman's client: `podman_stand_in PODMAN run ...`.

It learns the exit code from inside the container, by a pipe: told to end, the client of any user but root ends at once
and with 0, whatever the payload does. It gives a registry login to podman in a file that lives in memory, so that
there is none on disk and none among the arguments. Runs with the standard library alone.
"""

from __future__ import annotations

import base64
import contextlib
import ctypes
import fcntl
import json
import os
import signal
import sys
from types import FrameType

ENGINE_FAILED = 125
#: Where the container's first process writes the exit code (podman's `--preserve-fds 1`).
CODE_FD = 3
_LOGIN = ("PILOT_REGISTRY_USERNAME", "PILOT_REGISTRY_PASSWORD", "PILOT_REGISTRY")
_REMOVAL_LIMIT_S = 5.0
_PR_SET_CHILD_SUBREAPER = 36
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def auth_file(username: str, password: str, registry: str) -> bytes:
    """The login in the form of a container registry's auth file."""
    token = base64.b64encode(f"{username}:{password}".encode()).decode()
    return json.dumps({"auths": {registry: {"auth": token}}}).encode()


def with_login(environ: dict[str, str]) -> dict[str, str]:
    """The environment for podman: a login is taken out and becomes a file in memory that podman is told of."""
    if _LOGIN[0] not in environ:
        return environ
    made = os.memfd_create("login", 0)
    os.write(made, auth_file(*(environ[name] for name in _LOGIN)))
    held = fcntl.fcntl(made, fcntl.F_DUPFD, CODE_FD + 1)  # the lowest free number is wanted for something else
    os.close(made)
    rest = {name: value for name, value in environ.items() if name not in _LOGIN}
    return {**rest, "REGISTRY_AUTH_FILE": f"/proc/self/fd/{held}"}


class Client:
    """The client and what it leaves behind: this process takes the place of init for all of it and collects it.

    So what runs in the container descends from this process, and is seen and signalled as part of the payload.
    """

    def __init__(self) -> None:
        self.pid = 0
        self.status: int | None = None

    def start(self, argv: list[str], environ: dict[str, str]) -> int:
        """Start the client, which hears signals; the end of the pipe from which the exit code comes."""
        hear, tell = os.pipe()
        keep = os.dup(hear) if hear == CODE_FD else hear
        os.dup2(tell, CODE_FD)
        os.set_inheritable(CODE_FD, True)
        self.pid = os.posix_spawnp(argv[0], argv, environ, setsigmask=[], setsigdef=_SIGNALS)
        os.close(CODE_FD)
        if tell != CODE_FD:
            os.close(tell)
        return keep

    def pass_on(self, number: int, _: FrameType | None) -> None:
        """Tell the client and the container's monitor process, which both tell the container's first process.

        The client alone would not do: for a moment after the start it does not listen yet.
        """
        for pid in children():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def collect(self, *_: object) -> None:
        """Collect every child that has ended."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self.pid:
                self.status = status

    def wait(self) -> int:
        """Wait for the client's end; its exit code as a shell gives it. The signals are blocked.

        The container's monitor process is waited for as well, for a while: it has the container removed.
        """
        while self.status is None:
            signal.sigwait({signal.SIGCHLD})
            self.collect()
        while any(map(is_monitor, children())) and signal.sigtimedwait({signal.SIGCHLD}, _REMOVAL_LIMIT_S):
            self.collect()
        code = os.waitstatus_to_exitcode(self.status)
        return code if code >= 0 else 128 - code


def children() -> list[int]:
    """The processes below this one: the client, and what it left."""
    me = os.getpid()
    with open(f"/proc/{me}/task/{me}/children") as file:
        return [int(pid) for pid in file.read().split()]


def is_monitor(pid: int) -> bool:
    """Whether this is podman's monitor of a container."""
    try:
        with open(f"/proc/{pid}/comm") as file:
            return file.read().strip() == "conmon"
    except OSError:
        return False


def told(hear: int) -> int | None:
    """The exit code that was told from inside; None if the container ended without a word."""
    said = os.read(hear, 16).strip()
    return int(said) if said.isdigit() else None


def main(argv: list[str]) -> int:
    """Run the client; the payload's exit code, or the client's own if there is none."""
    client = Client()
    everything = (*_SIGNALS, signal.SIGCHLD)
    signal.pthread_sigmask(signal.SIG_BLOCK, everything)
    for number in _SIGNALS:
        signal.signal(number, client.pass_on)
    signal.signal(signal.SIGCHLD, client.collect)
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    environ = with_login(dict(os.environ))
    try:
        hear = client.start(argv, environ)
    except OSError as error:
        print(f"podman: {argv[0]}: {error.strerror}", file=sys.stderr)
        return ENGINE_FAILED
    signal.pthread_sigmask(signal.SIG_UNBLOCK, everything)
    code = told(hear)
    signal.pthread_sigmask(signal.SIG_BLOCK, everything)
    ended = client.wait()
    return ended if code is None else code
