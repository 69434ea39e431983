"""The environment that a site's or an experiment's set-up commands make for all payloads of this pilot."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from pilot.core.job import JobDefinition
from pilot.core.queue import QueueData

Queues = Callable[[JobDefinition], QueueData]


def with_setup(queues: Queues, setup: str, environ: Mapping[str, str]) -> Queues:
    """The queue's data, its `environ` preceded by what the set-up changes; the set-up is evaluated here, once.

    Raises `SetupFailure` or `LsetupTimedOut`.
    """
    if not setup.strip():
        return queues
    from pilot.lib.shellenv import evaluate
    from pilot.runtime.environment import PASSED_ON, passed_on

    change = evaluate(setup, passed_on(environ, PASSED_ON))

    def queue_for(job: JobDefinition) -> QueueData:
        queue = queues(job)
        return msgspec.structs.replace(queue, environ=change.put | queue.environ)

    return queue_for
