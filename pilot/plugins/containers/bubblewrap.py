"""A sandbox for sites without any container runtime: own user, mount and pid namespaces (bubblewrap, util-linux)."""

from __future__ import annotations

from typing import ClassVar

from pilot.core.command import Command, ContainerRequest
from pilot.core.errors import Failure
from pilot.core.job import Exit
from pilot.plugins.containers import box, marks
from pilot.plugins.containers.allow import allowed
from pilot.plugins.containers.base import Host, Traits
from pilot.plugins.containers.daemonless import Daemonless
from pilot.plugins.containers.diagnose import diagnose
from pilot.plugins.containers.trial import missing_programs, trial
from pilot.plugins.containers.words import BOX


class Bubblewrap(Daemonless):
    """The payload sees the host's files read-only, or an unpacked image, and may write in its job directory only."""

    traits: ClassVar[Traits] = Traits(isolates=True, own_gpus=True)

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self._uid, self._gid = host.user

    def wrap(self, command: Command, request: ContainerRequest) -> Command:
        """`unshare ... bwrap ...`; an image is the directory of a root file system."""
        env, hidden = box.environment({**allowed(command.env, request.env_names), **marks.mark(request)})
        options = box.bwrap_options(command, request, self._uid, self._gid, image=bool(request.image))
        if request.image:
            inner = [*box.image_command(request.image, "", self._uid, self._gid), *options]
        else:
            inner = ["bwrap", "--ro-bind", "/", "/", *options]
        return Command(
            (*box.unshare(request), *inner, *hidden, "--", *command.argv), request.workdir, env, command.files
        )

    def check(self) -> str:
        """Whether the programs are there and the kernel lets this user make the namespaces: tried for real."""
        return missing_programs(self._host, "unshare", "bwrap") or trial(self, self._host)

    def diagnose(self, exit: Exit, stderr: str) -> Failure | None:
        """What `unshare` and `bwrap` say when they fail before the payload runs."""
        return diagnose(BOX, exit, stderr)
