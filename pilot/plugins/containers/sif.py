"""SIF and squashfs images without apptainer: squashfuse and bubblewrap."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import ClassVar

from pilot.core.command import Command, ContainerRequest
from pilot.core.errors import Failure, QueueNotSetUpForContainers
from pilot.core.job import Exit
from pilot.plugins.containers import box, marks, sif_start
from pilot.plugins.containers.allow import allowed
from pilot.plugins.containers.base import Host, Traits
from pilot.plugins.containers.daemonless import Daemonless
from pilot.plugins.containers.diagnose import diagnose
from pilot.plugins.containers.trial import missing_programs, trial
from pilot.plugins.containers.words import BOX

_ROOT = str(Path(__file__).parents[3])
_START = (
    "import sys; sys.path.insert(0, sys.argv[1]); from pilot.plugins.containers.sif_start import main; "
    "sys.exit(main(sys.argv[2:]))"
)


class Sif(Daemonless):
    """The image is mounted in the payload's own mount namespace and gone with it."""

    traits: ClassVar[Traits] = Traits(image=True, isolates=True, own_gpus=True)

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self._uid, self._gid = host.user

    def wrap(self, command: Command, request: ContainerRequest) -> Command:
        """A start that reads the image's header, then `unshare ... squashfuse ... bwrap ...`."""
        if not request.image:
            raise QueueNotSetUpForContainers("no image file is named")
        start = (self._host.python or sys.executable, "-I", "-S", "-c", _START, _ROOT, request.image)
        inner = box.image_command(request.image, sif_start.OFFSET_WORD, self._uid, self._gid)
        env, hidden = box.environment({**allowed(command.env, request.env_names), **marks.mark(request)})
        options = box.bwrap_options(command, request, self._uid, self._gid, image=True)
        argv = (*start, *box.unshare(request), *inner, *options, *hidden, "--", *command.argv)
        return Command(argv, request.workdir, env, command.files)

    def check(self) -> str:
        """The programs, the FUSE device, and the namespaces tried for real."""
        missing = missing_programs(self._host, "unshare", "bwrap", "squashfuse")
        if missing:
            return missing
        if not os.access("/dev/fuse", os.R_OK | os.W_OK):
            return "/dev/fuse may not be opened by this user"
        from pilot.plugins.containers.bubblewrap import Bubblewrap

        return trial(Bubblewrap(self._host), self._host)

    def diagnose(self, exit: Exit, stderr: str) -> Failure | None:
        """What the start, squashfuse, `unshare` and `bwrap` say when they fail before the payload runs."""
        return diagnose(BOX, exit, stderr)
