"""A container runtime for tests: runs on the host and fails in the ways it is told to."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from pilot.core.command import Command, ContainerRequest
from pilot.core.errors import ContainerGeneralFailure, Failure, PilotError
from pilot.core.job import Exit
from pilot.plugins.containers import marks
from pilot.plugins.containers.allow import allowed
from pilot.plugins.containers.base import Host, Traits
from pilot.plugins.containers.digest import of_file

_PREFIX = "dummy: "


class Faults(msgspec.Struct, frozen=True):
    """What shall go wrong.

    `missing`: `check` says so. `refuse`: `wrap` raises it. `fail`: the runtime writes this to stderr and exits 255
    instead of running the payload. `delay_s`: the runtime needs this long before the payload starts.
    `deaf`: `end` and `ours` get no answer. `immortal`: `end` has no effect.
    """

    missing: str = ""
    refuse: PilotError | None = None
    fail: str = ""
    delay_s: float = 0.0
    deaf: bool = False
    immortal: bool = False


class DummyContainer:
    """Does what `none` does, accepts an image, and has the faults it is given."""

    traits: ClassVar[Traits] = Traits()

    def __init__(self, host: Host, faults: Faults = Faults()) -> None:  # noqa: B008 - frozen
        self._host = host
        self._faults = faults

    def wrap(self, command: Command, request: ContainerRequest) -> Command:
        """The command through a shell that can first wait or fail."""
        faults = self._faults
        if faults.refuse is not None:
            raise faults.refuse
        env = {**allowed(command.env, request.env_names), **marks.mark(request)}
        if faults.fail:
            script = 'printf "%s\\n" "$0" >&2; exit 255'
            return Command(("/bin/sh", "-c", script, f"{_PREFIX}{faults.fail}"), command.cwd, env, command.files)
        if faults.delay_s:
            script = f'sleep {faults.delay_s:.3f}; exec "$0" "$@"'
            return Command(("/bin/sh", "-c", script, *command.argv), command.cwd, env, command.files)
        return msgspec.structs.replace(command, env=env)

    def end(self, name: str) -> None:
        """End every process that carries the mark, unless told not to."""
        self._answer()
        if not self._faults.immortal:
            marks.kill(self._host.proc, name)

    def ours(self, token: str) -> tuple[str, ...]:
        """What carries the token."""
        self._answer()
        return marks.names_of(self._host.proc, token)

    def pid(self, name: str) -> int | None:
        """Everything descends from the wrapped command."""
        return None

    def digest(self, image: str) -> str:
        """What the image's name, place or header tells."""
        return of_file(image)

    def check(self) -> str:
        """What the test wants to be missing."""
        return self._faults.missing

    def diagnose(self, exit: Exit, stderr: str) -> Failure | None:
        """A general failure if the runtime was told to fail and did."""
        lines = [line for line in stderr.splitlines() if line.startswith(_PREFIX)]
        if exit.status != 255 or not lines:
            return None
        return ContainerGeneralFailure(lines[-1].removeprefix(_PREFIX)).failure()

    def _answer(self) -> None:
        if self._faults.deaf:
            raise ContainerGeneralFailure("the dummy runtime does not answer")
