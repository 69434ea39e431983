"""How a worker of Harvester behaves."""

from __future__ import annotations

import msgspec

from pilot.core.update import Node


class HarvesterSettings(msgspec.Struct, frozen=True):
    """`push`: the jobs are there when the worker starts, more are never asked for. `patience_s`: how long one request
    for jobs is waited for before the worker gives up. `ask_kill`: have Harvester end the worker once it is done.
    `jobs`: how many the worker takes, 0 is no limit. `direct`: jobs come from the job server, Harvester is told which.
    `jumbo`: the job is shared with the workers that are not `worker`."""

    node: Node
    push: bool = False
    patience_s: float = 600.0
    events_patience_s: float = 300.0
    ask_kill: bool = False
    jobs: int = 0
    direct: bool = False
    jumbo: bool = False
    worker: str = ""
