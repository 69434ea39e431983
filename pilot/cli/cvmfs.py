"""Whether the software that an experiment's payloads need is there: its repositories below /cvmfs."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Mapping
from pathlib import Path

from pilot.cli.experiment import section
from pilot.core.errors import CvmfsNotAlive
from pilot.core.queue import QueueData
from pilot.core.settings import Settings

_log = logging.getLogger("pilot.cvmfs")
#: A file system that is mounted when it is looked at may take some time for the first look.
_LIMIT_S = 20.0


def check_cvmfs(settings: Settings, queue: QueueData, environ: Mapping[str, str], limit_s: float = _LIMIT_S) -> None:
    """Look at the repositories that the experiment names, unless the queue or the settings do without.

    With `--cvmfs-check refuse` raises `CvmfsNotAlive` for one that is not there; otherwise that is a warning, and
    nobody waits for the look.
    """
    if settings.cvmfs_check == "off" or not queue.cvmfs or environ.get("NO_CVMFS_OK"):
        return
    base = Path(environ.get("ATLAS_SW_BASE") or "/cvmfs")
    places = [base / name for name in repositories(settings.experiment)]
    if not places:
        return
    if settings.cvmfs_check == "refuse":
        for place in places:
            if trouble := look(place, limit_s):
                raise CvmfsNotAlive(trouble)
        return

    def warn() -> None:
        for place in places:
            if trouble := look(place, limit_s):
                _log.warning("%s: payloads that need it will fail (--cvmfs-check off says nothing)", trouble)

    threading.Thread(target=warn, name="cvmfs-check", daemon=True).start()


def repositories(experiment: str) -> list[str]:
    """The repositories that an experiment's file names; none for an experiment without one."""
    return [str(name) for name in section(experiment, "cvmfs").get("repositories", [])]


def look(place: Path, limit_s: float) -> str:
    """What is wrong with a repository, "" for nothing. One that does not answer is given up after `limit_s`."""
    found: list[str] = []

    def ask() -> None:
        try:
            found.append("" if os.listdir(place) else f"{place} is empty")
        except OSError as error:
            found.append(f"{place}: {error.strerror}")

    # A look that hangs in the kernel cannot be cancelled: it is left behind in a thread that nobody waits for.
    asking = threading.Thread(target=ask, name="cvmfs-look", daemon=True)
    asking.start()
    asking.join(limit_s)
    return found[0] if found else f"{place} did not answer in {limit_s:g} s"
