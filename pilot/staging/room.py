"""Whether there is room for a job's inputs before any of them is copied (protocol.md 8.2)."""

from __future__ import annotations

import os
from collections.abc import Sequence

from pilot.core.errors import InputsTooLarge, NoLocalSpace
from pilot.core.storage import StagingSite
from pilot.core.transfer import Transfer
from pilot.lib.files import local_path

_MB = 1024 * 1024
#: Tools that take no room for a file of this machine.
_LINKS = frozenset({"symlink", "blindlink", "hardlink", "move", "ln", "reflink", "auto"})


def check_room(transfers: Sequence[Transfer], site: StagingSite, directory: str) -> None:
    """Raise `InputsTooLarge` if the inputs that are to be copied are more together than the queue takes, and
    `NoLocalSpace` if there is no room for them; not where the queue wants nothing checked."""
    if site.max_input_mb < 0:
        return
    size = sum(transfer.size or 0 for transfer in transfers if not _is_linked(transfer))
    if 0 < site.max_input_mb * _MB < size:
        raise InputsTooLarge(f"{size} bytes in {len(transfers)} files; the queue takes {site.max_input_mb} MB")
    disk = os.statvfs(directory)
    free = disk.f_bavail * disk.f_frsize
    if size > free:
        raise NoLocalSpace(f"{size} bytes of inputs, {free} bytes free in {directory}")


def _is_linked(transfer: Transfer) -> bool:
    first = transfer.copytool.split()[:1]
    return bool(_LINKS.intersection(first)) and all(local_path(source.url) is not None for source in transfer.sources)
