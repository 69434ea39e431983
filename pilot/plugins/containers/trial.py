"""Whether a runtime works on this machine: found out by running nothing much in it."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from typing import TYPE_CHECKING

from pilot.core.command import Command, ContainerRequest
from pilot.lib.oneoff import hear
from pilot.plugins.containers.base import Host

if TYPE_CHECKING:
    from pilot.plugins.containers.base import Container

_LIMIT_S = 20.0


def missing_programs(host: Host, *names: str) -> str:
    """The first of these programs that is not on the PATH, as a line that says so; empty if all are there."""
    for name in names:
        if shutil.which(name, path=host.env.get("PATH")) is None:
            return f"program {name} is not installed"
    return ""


def trial(plugin: Container, host: Host) -> str:
    """Run `true` without an image; what was said if that failed."""
    with tempfile.TemporaryDirectory(prefix="pilot-check-") as workdir:
        command = Command(("/bin/sh", "-c", "exit 0"), workdir, {"PATH": host.env.get("PATH", "/usr/bin:/bin")})
        wrapped = plugin.wrap(command, ContainerRequest(name="check", workdir=workdir))
        return answer(wrapped)


def answer(command: Command) -> str:
    """Run a short command; its last line of stderr (or its exit code) if it fails, else empty."""
    try:
        done = hear(command.argv, _LIMIT_S, command.env, command.cwd)
    except subprocess.TimeoutExpired:
        return f"{command.argv[0]} does not answer within {_LIMIT_S:.0f} s"
    except OSError as error:
        return f"{command.argv[0]}: {error.strerror}"
    if done.returncode == 0:
        return ""
    said = done.stderr.strip().splitlines()
    return said[-1] if said else f"{command.argv[0]} ends with exit code {done.returncode}"
