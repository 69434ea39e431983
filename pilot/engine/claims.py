"""Which job has written which output: two jobs with one name for theirs must not overwrite each other unnoticed."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from pilot.core.errors import Failure, FileExists
from pilot.core.transfer import Transfer

_LOG = "pl"


class Claims:
    """The places that jobs have sent outputs to, those of earlier pilots among them (`owners`). Any thread.

    On this machine a second job's file of the same name goes beside the first, into a directory named by the job; on
    a remote storage it is refused. Logs are not worth failing a job for.
    """

    def __init__(self, owners: Mapping[str, int] | None = None) -> None:
        self._owners: dict[str, int] = dict(owners or {})
        self._guard = threading.Lock()

    def claim(self, job_id: int, transfers: Sequence[Transfer]) -> tuple[list[Transfer], Failure | None]:
        """The transfers whose places are free or the job's own (an earlier attempt's too), and what of the others."""
        mine, lost = [], []
        with self._guard:
            for transfer in transfers:
                url = transfer.targets[0].url if transfer.targets and transfer.activity != _LOG else ""
                owner = self._owners.setdefault(url, job_id) if url else job_id
                if owner == job_id:
                    mine.append(transfer)
                elif url.startswith("file:"):
                    mine.append(_beside(transfer, url, job_id))
                else:
                    lost.append(f"{transfer.lfn} of job {owner} is at {url} already")
        return mine, FileExists("; ".join(lost)).failure() if lost else None


def _beside(transfer: Transfer, url: str, job_id: int) -> Transfer:
    folder, _, name = url.rpartition("/")
    own = replace(transfer.targets[0], url=f"{folder}/{job_id}/{name}")
    return replace(transfer, targets=(own, *transfer.targets[1:]))
