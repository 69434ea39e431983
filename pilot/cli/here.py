"""Where this pilot runs: node, batch job and its end, credentials; read from environment and files in one place."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from pilot import __version__
from pilot.cli.here_gpus import gpus_of, to_share_out, to_tell
from pilot.core.settings import Settings
from pilot.core.update import Node
from pilot.lib import numa
from pilot.lib.node import NodeFacts, read_node
from pilot.lib.oneoff import hear
from pilot.plugins.batch.here import BatchJob, Features, detect, features, parse_time_left, pilot_id, time_left_argv
from pilot.runtime.slots import Node as Room


class Here(msgspec.Struct, frozen=True):
    """The place of this pilot. `ends_at` is the end of the batch job (epoch s), None if nobody tells one.

    `metrics` is what a benchmark found of the node, for jobMetrics.
    """

    node: Node
    facts: NodeFacts
    batch: BatchJob
    features: Features
    ends_at: float | None
    room: Room
    metrics: dict[str, str] = {}

    @property
    def gpus(self) -> tuple[dict[str, Any], ...] | None:
        """What the server may know of the GPUs that jobs can get here; None: nothing, or not enough, is known."""
        return to_tell(self.facts, self.room.gpus)

    def words(self) -> str:
        """Host, batch job and what there is to share out, in a line for the log."""
        batch = f", {self.batch.kind} job {self.batch.id}" if self.batch.kind else ""
        room = self.room
        return f"host {self.node.host}{batch}, {room.cores} cores, {room.memory_mb or 'any'} MB of memory"


def look_around(settings: Settings, workdir: Path, environ: Mapping[str, str]) -> Here:
    """Read it all; a few milliseconds. No program is started, unless GPUs can be asked for in no other way."""
    batch = detect(environ, _read)
    told = features(environ, _read)
    facts = read_node(disk=workdir)
    facts = msgspec.structs.replace(facts, gpus=gpus_of(facts, environ))
    ends = [end for end in (batch.ends_at, told.ends_at) if end and end > time.time()]
    worker = settings.worker_id
    node = Node(
        host=environ.get("PANDA_HOSTNAME") or _slot(environ) + socket.gethostname(),
        site=settings.queue,
        queue=settings.queue,
        pilot_id=pilot_id(settings.log_url, batch.kind, settings.version_tag, __version__),
        batch_id=batch.id,
        scheduler_id=settings.scheduler_id,
        harvester_id=settings.harvester_id,
        worker_id=int(worker) if worker.isdigit() else None,
        cpu_unit=facts.cpu_unit,
        cpu_level=facts.level,
    )
    ends_at, room = min(ends, default=None), _room(facts, batch, told, workdir, to_share_out(facts, environ))
    if not settings.benchmark:
        return Here(node, facts, batch, told, ends_at, room)
    node, metrics = _measured(node)
    return Here(node, facts, batch, told, ends_at, room, metrics)


def _measured(node: Node) -> tuple[Node, dict[str, str]]:
    """The node with the speed of its cores, as `pilot benchmark` found it in this boot; unchanged if it did not."""
    from pilot.engine import benchmark
    from pilot.lib.procfs import Proc

    result = benchmark.cached(benchmark.cache_file(), None, Proc())
    if result is None:
        return node, {}
    return msgspec.structs.replace(node, cpu_factor=round(result.factor, 3)), result.metrics()


def time_left(batch: BatchJob) -> Callable[[], int | None] | None:
    """How the batch system is asked for the seconds left to this job; None where there is nothing to ask."""
    argv = time_left_argv(batch)
    if argv is None:
        return None

    def ask() -> int | None:
        try:
            done = hear(argv, 20.0)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return parse_time_left(batch.kind, done.stdout)

    return ask


def _slot(environ: Mapping[str, str]) -> str:
    slot = environ.get("_CONDOR_SLOT", "")
    return f"{slot}@" if slot else ""


def _room(facts: NodeFacts, batch: BatchJob, told: Features, workdir: Path, gpus: tuple[str, ...]) -> Room:
    """What the pilot may share out: no more than the batch system granted."""
    cpus = frozenset(os.sched_getaffinity(0))
    granted = batch.cores or told.cores or len(cpus)
    cores = max(1, min(granted, len(cpus)))
    memory_mb = min(m for m in (batch.memory_mb, told.memory_mb, facts.memory_mb, 1 << 40) if m > 0)
    disk = os.statvfs(workdir)
    return Room(
        cores=cores,
        memory_mb=memory_mb if memory_mb < 1 << 40 else 0,
        disk_mb=disk.f_bavail * disk.f_frsize // 1024**2,
        gpus=gpus,
        cpus=cpus if len(cpus) == cores else frozenset(),
        numa=numa.nodes(),
    )


def _read(place: str) -> str | None:
    """A file, or what a URL of the machine features serves; None if there is nothing."""
    try:
        if "://" in place:
            from urllib.request import urlopen

            with urlopen(place, timeout=5) as answer:
                text: str = answer.read(65536).decode(errors="replace")
                return text
        return Path(place).read_text(errors="replace")
    except OSError:
        return None
