"""The room of container runtimes: how a payload's command is put into a box, found again and ended."""

from __future__ import annotations

import os
from typing import ClassVar, Protocol

import msgspec

from pilot.core.command import Command, ContainerRequest
from pilot.core.errors import Failure
from pilot.core.job import Exit

#: Set in the environment of everything that is started for a container: `<token>/<name>`.
MARK = "PILOT_CONTAINER"


def oom_note(request: ContainerRequest) -> str:
    """The file in the job's directory in which a container of a daemon leaves how many processes the kernel ended for
    lack of memory, when it ended; it is not there if there were none."""
    return f".oom-{request.name}"


class Traits(msgspec.Struct, frozen=True):
    """What a runtime can do, told as data.

    `image`: it needs one. `isolates`: the payload sees files of its own and only what is bound. `memory`: it
    enforces `memory_mb`; `cpus`: it enforces the CPU set; `daemon`: the payload's processes are not descendants
    of the wrapped command, so that only `end` reaches them; `own_gpus`: the payload sees the GPUs of the request alone,
    numbered from 0; `own_path`: it gives the payload the search path that is written in the image.
    """

    image: bool = False
    isolates: bool = False
    memory: bool = False
    cpus: bool = False
    daemon: bool = False
    own_gpus: bool = False
    own_path: bool = False


class Host(msgspec.Struct, frozen=True):
    """What a plugin is told of the machine: it reads no environment itself.

    `env` is the environment in which the runtime's program is looked up (`PATH`) and asked (`HOME`,
    `XDG_RUNTIME_DIR`, `DOCKER_HOST`, ...). `program` forces a program, `socket` the address of a daemon,
    `python` the interpreter for a helper process. `proc` is the process file system. `uid` and `gid` are those of the
    user who runs the wrapped command (-1: the pilot's own).
    """

    env: dict[str, str] = {}
    program: str = ""
    socket: str = ""
    python: str = ""
    proc: str = "/proc"
    uid: int = -1
    gid: int = -1

    @property
    def user(self) -> tuple[int, int]:
        """User and group of the wrapped command."""
        return (self.uid if self.uid >= 0 else os.getuid(), self.gid if self.gid >= 0 else os.getgid())


class Container(Protocol):
    """One container runtime.

    Threads: every method may be called from any thread, at the same time as any other.
    Errors: `wrap` raises `QueueNotSetUpForContainers` for a request that this runtime can never serve (no image,
    an option that is not its own); `end`, `ours`, `pid` and `digest` raise `ContainerGeneralFailure` when the runtime
    does not answer. No other method raises.
    """

    traits: ClassVar[Traits]

    def __init__(self, host: Host) -> None:
        """Keep what is told of the machine; starts, opens and imports nothing."""

    def wrap(self, command: Command, request: ContainerRequest) -> Command:
        """The command that runs `command` inside the container. Pure: it only builds, and changes no argument.

        The returned command's process lives as long as the payload, passes SIGTERM and SIGINT on to it and ends
        with the payload's exit code (128 + n for one that signal n ended). No secret is part of its `argv`.
        """

    def end(self, name: str) -> None:
        """End what runs inside at once, and take the container away. Safe before its start and after its end."""

    def ours(self, token: str) -> tuple[str, ...]:
        """The names of the containers, running or left over, that a pilot with this token started."""

    def pid(self, name: str) -> int | None:
        """The first process inside as the host numbers it, for a runtime with a daemon; None elsewhere or not running.

        Where None, everything inside descends from the wrapped command's own process.
        """

    def digest(self, image: str) -> str:
        """What the image of this name is on this machine: `sha256:<hex>`, `sif:<uuid>`, empty where nobody knows.

        Asked when a container of it has been made.
        """

    def check(self) -> str:
        """What is missing before this runtime can be used on this machine, in one line; empty if nothing is."""

    def diagnose(self, exit: Exit, stderr: str) -> Failure | None:
        """The runtime's own failure, read from its exit code and the end of its messages; None if it was not that.

        Pure. A command that could not be started counts as exit code 127 with the system's message as `stderr`.
        Numbers: 1098, 1306 to 1309, 1325, 1340, 1345, 1348, 1360, 1372 (protocol.md 6.2).
        """
