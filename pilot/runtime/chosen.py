"""What a site names for some of its jobs: which jobs these are. Pure."""

from __future__ import annotations

from fnmatch import fnmatchcase

import msgspec

from pilot.core.job import JobDefinition
from pilot.core.queue import QueueData


class Jobs(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Jobs by patterns (`*`, `?`): of each list that is given one must fit. `labels` are prodSourceLabels, `platforms`
    those that jobs name."""

    queues: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    platforms: tuple[str, ...] = ()

    def fit(self, job: JobDefinition, queue: QueueData) -> bool:
        """Whether the job is one of them; every job fits where nothing is given."""
        words = ((self.queues, queue.name), (self.labels, job.label), (self.platforms, job.platform))
        return all(not patterns or any(fnmatchcase(word, one) for one in patterns) for patterns, word in words)
