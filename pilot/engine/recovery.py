"""What a dead pilot left: its payloads are ended, its jobs are taken up again or let go."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import msgspec

from pilot.core.definition import parse
from pilot.core.errors import FailedByServer, Failure, PilotError
from pilot.core.job import JobDefinition
from pilot.core.lifecycle import Phase
from pilot.core.transfer import Attempt
from pilot.db.processes import Process
from pilot.db.store import StoredJob
from pilot.engine import concealed
from pilot.engine.boxes import Boxes
from pilot.engine.means import Means, Run
from pilot.lib.kin import Identity
from pilot.lib.orphans import end_all
from pilot.lib.worker import all_at_once
from pilot.plugins.sources.base import Source

_log = logging.getLogger("pilot.recovery")
#: How many containers are ended at the same time, and how long their runtimes may take for all of them.
_AT_ONCE, _CONTAINERS_S = 8, 120.0
#: The server's words for a job that nobody waits for any more.
_OVER = frozenset({"finished", "failed", "cancelled", "closed", "merging"})


def end_orphans(processes: Sequence[Process], grace_s: float, boxes: Boxes) -> list[int]:
    """End what is left of payloads, provably ours by token, birth, cgroup or container name; the settled rows' ids.

    All containers are ended side by side, then all processes are told at once and waited for together.
    """
    works = [partial(boxes.end, process.container) for process in processes]
    wrong = all_at_once("recovery", works, _AT_ONCE, _CONTAINERS_S)
    identities = [msgspec.json.decode(process.identity, type=Identity) for process in processes]
    settled = []
    for process, error, left in zip(processes, wrong, end_all(identities, grace_s), strict=True):
        if error is not None:
            _log.error("job %s: container %s cannot be ended: %s", process.key, process.container, error)
        if left:
            _log.error("job %s: processes %s of the earlier pilot cannot be ended", process.key, left)
        if error is None and not left:
            settled.append(process.id)
    return settled


def still_wanted(source: Source, jobs: Sequence[StoredJob]) -> dict[int, str]:
    """The server's word on each job that is under way; empty when the server cannot be asked now."""
    numbers = [int(stored.job.key.partition(".")[0]) for stored in jobs if stored.job.phase is not Phase.REPORTING]
    if not numbers:
        return {}
    try:
        return source.status(numbers)
    except PilotError as error:
        _log.warning("the server was not asked about %d unfinished jobs, they go on: %s", len(numbers), error)
        return {}


def verdict(word: str) -> Failure | None:
    """Why a job with this word of the server is to be let go; None if it goes on."""
    if word in _OVER:
        return FailedByServer(f"the server says {word!r} of it: not wanted any more").failure()
    return None


def restore(stored: StoredJob, means: Means, moved: Mapping[tuple[str, str], Attempt]) -> Run:
    """The moving side of a job as the PilotDB has it; `moved` is what earlier pilots have brought or stored for it."""
    directory = Path(stored.directory)
    hidden = concealed.recall(directory.parent, stored.job.key, means.redactor)
    try:
        definition = msgspec.structs.replace(parse({**stored.definition, **hidden.keys}), raw=stored.definition)
    except PilotError:
        number, _, attempt = stored.job.key.partition(".")
        definition = JobDefinition(job_id=int(number), attempt=int(attempt or 0), raw=stored.definition)
    means.disk.wrote(stored.job.key, lambda: directory.mkdir(parents=True, exist_ok=True))
    log = means.log_of(stored.job.key, directory)
    return Run(definition, stored.job, stored.facts, directory, log, secrets=hidden.user, moved=moved)
