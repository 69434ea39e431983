"""What the engine works with, handed down from `cli/`, and the moving side of one job."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from pilot.core.errors import Failure
from pilot.core.facts import Facts
from pilot.core.job import JobDefinition
from pilot.core.lifecycle import Job
from pilot.core.queue import QueueData
from pilot.core.resources import ResourceType
from pilot.core.settings import Settings
from pilot.core.storage import StagingSite
from pilot.core.transfer import Attempt
from pilot.core.update import Node
from pilot.db.store import Store
from pilot.engine.boxes import Box, Boxes
from pilot.engine.claims import Claims
from pilot.engine.environments import Environments
from pilot.engine.jobdisk import JobDisk
from pilot.engine.monitor import Monitor
from pilot.engine.traces import Traces
from pilot.lib.cancel import Cancel
from pilot.lib.cgroup import Group
from pilot.lib.cgroup_ground import Ground
from pilot.lib.log import JobLog
from pilot.lib.loop import Loop, Timer
from pilot.lib.node import NodeFacts, worker_node, worker_node_gpus
from pilot.lib.process import Child
from pilot.lib.redact import Redactor
from pilot.lib.speeds import Speeds
from pilot.lib.worker import Crew
from pilot.plugins.sources.base import Source
from pilot.runtime.experiment import Variables
from pilot.runtime.slots import Grant, Slots
from pilot.runtime.utilities import Utility
from pilot.staging.catalogue import Catalogue
from pilot.staging.transfer import Transferer

STAGE_IN, STAGE_OUT, CHORES = "stage-in", "stage-out", "chores"
_CHORES_AT_ONCE = 2


class Place(msgspec.Struct, frozen=True):
    """Where the pilot runs. `ends_at` is the end of its batch job (epoch s), `hs06` of its cores; None: not told.

    `ask_time_left` asks the batch system for the seconds left, where that takes a program; it may take seconds.
    `metrics` is what a benchmark found of the node, for jobMetrics and the node's map in the metadata.
    """

    node: Node
    facts: NodeFacts
    ends_at: float | None = None
    hs06: float | None = None
    ask_time_left: Callable[[], int | None] | None = None
    metrics: dict[str, str] = {}

    def maps(self) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """The `worker_node` map and the `worker_node_gpus` maps of protocol.md 1.7."""
        node = self.node
        return worker_node(self.facts, node.site, node.host, node.queue), worker_node_gpus(
            self.facts, node.site, node.host
        )


@dataclass
class Means:
    """One of each, shared by all jobs. `base_env` is the pilot's own environment, `token` marks what it starts.
    `traces` tells Rucio of transfers, None where nobody wants to know.
    `ground` is where cgroups may be made, None where they may not.

    `look_at_credentials` renews what is due; it tells after how many seconds to look again, and what is wrong.
    `queue_for` and `site_for` tell the queue data and its storages as a job's overlay would have them. A pilot that
    has run for `time_floor_s` takes no further job (0: no such limit). `resource_types` are those of the server.
    `catalogue` tells where inputs lie, `speeds` how fast hosts are; `remote_options` go to a user's transformation that
    reads inputs in place. `on_attempt` hears of every attempt to move a file, with the job's key, in the loop's thread.
    `staging` does what takes time: `STAGE_IN`, `STAGE_OUT` and, of all other kinds, `CHORES`. Sources that stall hold
    no output up.
    """

    settings: Settings
    workdir: Path
    store: Store
    loop: Loop
    source: Source
    slots: Slots
    transferer: Transferer
    queue_for: Callable[[JobDefinition], QueueData]
    site_for: Callable[[JobDefinition], StagingSite]
    monitor: Monitor
    base_env: Mapping[str, str]
    token: str
    here: Place
    own_limits: Mapping[str, float]
    boxes: Boxes
    redactor: Redactor
    environments: Environments = field(default_factory=Environments)
    utilities: tuple[Utility, ...] = ()
    variables: Variables = field(default_factory=Variables)
    traces: Traces | None = None
    ground: Ground | None = None
    look_at_credentials: Callable[[], tuple[float, Failure | None]] | None = None
    pilot: int = 0
    time_floor_s: int = 0
    resource_types: dict[str, ResourceType] = field(default_factory=dict)
    claims: Claims = field(default_factory=Claims)
    catalogue: Catalogue | None = None
    speeds: Speeds = field(default_factory=Speeds)
    remote_options: str = ""
    on_attempt: Callable[[str, Attempt], None] | None = None
    disk: JobDisk = field(default_factory=JobDisk)
    staging: Crew = field(init=False)

    def log_of(self, key: str, directory: Path) -> JobLog:
        """The log of one job, written without being held up by its disk."""
        return JobLog(key, directory, self.redactor, partial(self.disk.wrote, key))

    def __post_init__(self) -> None:
        moved = self.settings.staging_threads
        self.staging = Crew("staging", {CHORES: _CHORES_AT_ONCE, STAGE_OUT: moved, STAGE_IN: moved})


@dataclass(eq=False)
class Run:
    """The moving side of one job in this pilot: processes, timers, threads' cancel. What lasts is in the PilotDB.

    Stage-in sets `sources`, the URL that each local input came from, and `turls`, those of inputs read in place by LFN.
    `parked`: its inputs are here and it waits for room; `put_back`: they had to go again for want of disk.
    `moved` is what earlier pilots have moved for it, the last success by direction and LFN; None for a job of this one.
    """

    definition: JobDefinition
    job: Job
    facts: Facts
    directory: Path
    log: JobLog
    grant: Grant | None = None
    child: Child | None = None
    box: Box | None = None
    box_ended: bool = False
    group: Group | None = None
    cancel: Cancel = field(default_factory=Cancel)
    began: float = 0.0
    timers: dict[str, Timer] = field(default_factory=dict)
    kill_sent: bool = False
    stdout: str = ""
    variables: dict[str, str] = field(default_factory=dict)
    parked: bool = False
    put_back: bool = False
    sources: dict[str, str] = field(default_factory=dict)
    turls: dict[str, str] = field(default_factory=dict)
    secrets: dict[str, Any] = field(default_factory=dict)
    written: tuple[str, ...] = ()
    moved: Mapping[tuple[str, str], Attempt] | None = None

    @property
    def key(self) -> str:
        """The attempt's key."""
        return self.job.key

    def set_timer(self, name: str, timer: Timer) -> None:
        """Keep a timer under a name; an earlier one of that name is cancelled."""
        self.drop_timer(name)
        self.timers[name] = timer

    def drop_timer(self, name: str) -> None:
        """Cancel a timer, if it is there."""
        if timer := self.timers.pop(name, None):
            timer.cancel()
