"""What the pilot tells a job server of a job, in plain types and units; a source puts it into its dialect."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

from pilot.core.errors import Failure
from pilot.core.usage import Usage


class State(StrEnum):
    """The words that a pilot may say of a job (protocol.md 3.5)."""

    STARTING = "starting"
    RUNNING = "running"
    TRANSFERRING = "transferring"
    HOLDING = "holding"
    FINISHED = "finished"
    FAILED = "failed"

    @property
    def final(self) -> bool:
        """Whether nothing more is said of the job after this word has been acknowledged."""
        return self in (State.FINISHED, State.FAILED)


class Node(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where the pilot runs and under which names it is known: the same in every update of one pilot."""

    host: str = ""
    site: str = ""
    queue: str = ""
    pilot_id: str = ""
    batch_id: str = ""
    scheduler_id: str = ""
    harvester_id: str = ""
    worker_id: int | None = None
    cpu_unit: str = ""
    cpu_factor: float = 1.0
    cpu_level: str = ""
    grid: str = ""
    source_site: str = ""
    destination_site: str = ""


class StoredFile(msgspec.Struct, frozen=True, omit_defaults=True):
    """A file as the output report tells it: `size` in bytes, `checksums` kind -> hex, `surl` where it is."""

    lfn: str
    guid: str
    size: int = 0
    checksums: dict[str, str] = {}
    surl: str = ""
    rse: str = ""
    full_lfn: str = ""


class JobUpdate(msgspec.Struct, frozen=True, omit_defaults=True):
    """All that is known of one attempt of a job now. None and empty mean: nothing to tell, leave the field out.

    Times are epoch s, memory kB, I/O bytes (see `Usage`), `timing_s` seconds by phase name
    (`getjob`, `stagein`, `payload`, `stageout`, `initial_setup`, `setup`). `metrics` become `jobMetrics`,
    in this order. `metadata` is the parsed jobReport.json, sent once, with the final word.
    `error` is the pilot's own error; `payload_exit` the payload's exit code; `payload_error` what the
    payload said of itself (exeErrorCode, exeErrorDiag).
    """

    job_id: int
    attempt: int
    state: State
    at: float
    substate: str = ""
    started: float | None = None
    ended: float | None = None
    cores: int | None = None
    mean_cores: float | None = None
    events: int | None = None
    input_files: int | None = None
    usage: Usage | None = None
    metrics: dict[str, str] = {}
    metadata: dict[str, Any] | None = None
    report: tuple[StoredFile, ...] | None = None
    timing_s: dict[str, float] = {}
    log_excerpt: str = ""
    stdout: str = ""
    payload_exit: int | None = None
    payload_error: tuple[int, str] | None = None
    error: Failure | None = None
    recoverable: bool = False
    corrupted_files: tuple[str, ...] = ()
    remaining_disk_mb: int | None = None
    workdir: str = ""

    @property
    def key(self) -> str:
        """The attempt's key, as in `JobDefinition.key`."""
        return f"{self.job_id}.{self.attempt}"


class Command(msgspec.Struct, frozen=True):
    """One order out of a server's answer: `word` in lower case, `argument` for those that have one (`tail FILE`)."""

    word: str
    argument: str = ""


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the server said to one update.

    `accepted`: the server has it (also `alreadydone`), nothing needs to be said again. When it is False, `retry`
    tells whether saying the same again may help, and `why` what was wrong.
    """

    accepted: bool
    retry: bool = False
    why: str = ""
    commands: tuple[Command, ...] = ()
    secrets: dict[str, Any] = {}
