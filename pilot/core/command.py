"""A command to be run, and what is asked of a container around it. Pure data."""

from __future__ import annotations

import msgspec


class Command(msgspec.Struct, frozen=True):
    """What is executed: `argv` as it is, in directory `cwd`, with exactly the environment `env` and nothing else.

    `files` (name -> text) are written into `cwd` before that; a name is never a path. `setup` are lines of shell for a
    launcher that has them sourced before the command.
    """

    argv: tuple[str, ...]
    cwd: str
    env: dict[str, str] = {}
    files: dict[str, str] = {}
    setup: tuple[str, ...] = ()


class Bind(msgspec.Struct, frozen=True):
    """A path of the host that is seen inside. An empty `target` means: under the same path."""

    source: str
    target: str = ""
    writable: bool = False

    @property
    def inside(self) -> str:
        """The path inside the container."""
        return self.target or self.source


class RegistryLogin(msgspec.Struct, frozen=True):
    """A login for an image registry. It travels in the environment of the runtime, never in an argument."""

    username: str
    password: str
    registry: str = ""

    def __repr__(self) -> str:
        """Without the password, so that a log or a traceback never holds it."""
        return f"RegistryLogin(username={self.username!r}, registry={self.registry!r})"


class Launcher(msgspec.Struct, frozen=True):
    """An experiment's own way to start a container: shell lines, and files to be written into the job's directory.

    In both stand for what is put in: `@image@`, `@options@` (one word) and `@arguments@` (quoted for the shell),
    `@payload@` (the command inside), `@setup@` (the lines that set up its release) and `@inside@` (the job's directory
    inside).
    """

    line: str
    files: dict[str, str] = {}
    options: str = ""


class ContainerRequest(msgspec.Struct, frozen=True):
    """What a job asks of its container.

    `name` is unique on the node and names the container for `end`; `token` is the pilot's own, by which the next
    pilot in the same directory finds what is left (`ours`). `image` is a file, a directory or a reference
    (`docker://...`, `name@sha256:...`), empty where the host's own files are to be seen.
    `workdir` is the job's directory on the host: always bound, always writable, seen inside as `inside`
    (empty: under the same path). The command's `cwd` is a path of the host at or below `workdir`.
    `env_names` are the names (or `PREFIX_*`) of the command's environment that go inside; `host_env` is the
    environment of the runtime itself and never seen by the payload. `options` are the runtime's own, already split;
    `arguments` are those of the job's user, which come last.
    `gpus` are indices or UUIDs, `cpus` the CPU set (empty: not pinned), `cores` (of CPU time), `memory_mb` and
    `processes` (with their threads) limits, 0: none. `network` False cuts the payload off. `launcher` is for the
    runtime of that name.
    """

    name: str
    workdir: str
    token: str = ""
    image: str = ""
    inside: str = ""
    binds: tuple[Bind, ...] = ()
    env_names: tuple[str, ...] = ("*",)
    host_env: dict[str, str] = {}
    options: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    gpus: tuple[str, ...] = ()
    cpus: tuple[int, ...] = ()
    cores: float = 0.0
    memory_mb: int = 0
    processes: int = 0
    network: bool = True
    login: RegistryLogin | None = None
    launcher: Launcher | None = None

    @property
    def work_inside(self) -> str:
        """The job's directory as the payload sees it."""
        return self.inside or self.workdir
