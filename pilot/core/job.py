"""What a job is: its definition as the server gave it, and how its payload ended. Pure data."""

from __future__ import annotations

from typing import Any

import msgspec


class InputFile(msgspec.Struct, frozen=True, omit_defaults=True):
    """A file that the payload reads.

    `size` is in bytes, None when the catalogue does not tell it. `checksum` is as the catalogue holds it
    (`ad:0a1b2c3d`, `md:...`, a bare adler32, or empty). `path` is where the file already lies, if known
    (a local path or a URL). `archive` marks `zip://` inputs that are to be unpacked. With
    `bypass` it does not come through the staging site while it can be had elsewhere. `storage_id` and
    `path_convention` are the object store's number and rule of an input that events wrote (protocol.md 4.5).
    """

    lfn: str
    scope: str = ""
    guid: str = ""
    size: int | None = None
    checksum: str = ""
    dataset: str = ""
    rse: str = ""
    token: str = ""
    path: str = ""
    archive: bool = False
    bypass: bool = False
    storage_id: int | None = None
    path_convention: int | None = None


class OutputFile(msgspec.Struct, frozen=True, omit_defaults=True):
    """A file that the payload (or, for the log, the pilot) writes.

    `optional` files may be missing (allowNoOutput). A `pattern` is the expression of a `regex|...` output:
    every file in the work directory whose whole name matches it is one. `output_class` (`pure`, `intermediate` or
    none) and `transfer`, whether it is wanted at the output site, tell whether it goes through the staging site.
    """

    lfn: str
    scope: str = ""
    guid: str = ""
    dataset: str = ""
    rse: str = ""
    token: str = ""
    optional: bool = False
    pattern: str = ""
    output_class: str = ""
    transfer: bool = True


class Step(msgspec.Struct, frozen=True):
    """A command that runs before, beside or after the payload (preprocess, coprocess, postprocess)."""

    command: str
    args: str = ""


class JobDefinition(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the server asks for: the attributes of protocol.md section 2 under their plain names.

    Memory and disk are in MB, times in s. `raw` is the description as it was received, without secrets;
    keys that nobody here knows are kept there. `direct_access` says that the job itself would read its inputs
    remotely; `access_mode` (`copy`, `direct`) is the user's wish, which wins. `alt_stageout` None: the queue decides.
    `zip_map` names the members of each archive. `event_tokens` are the storage tokens of event outputs. `jumbo`: other
    workers work through the event ranges of the same job.
    """

    job_id: int
    attempt: int = 0
    task_id: int | None = None
    jobset_id: int | None = None
    name: str = ""
    label: str = ""
    transformation: str = ""
    parameters: str = ""
    inputs: tuple[InputFile, ...] = ()
    outputs: tuple[OutputFile, ...] = ()
    log: OutputFile | None = None
    cores: int = 1
    memory_mb: int = 0
    disk_mb: int = 0
    gpus: int = 0
    max_cpu_s: int = 0
    max_wall_s: int = 0
    resource_type: str = ""
    platform: str = ""
    release: str = ""
    homepackage: str = ""
    image: str = ""
    container_options: dict[str, Any] = {}
    direct_access: bool = False
    access_mode: str = ""
    write_to_file: tuple[tuple[str, tuple[str, ...]], ...] = ()
    complete_command: bool = False
    looping_check: bool = True
    debug: bool = False
    clone: str = ""
    event_service: bool = False
    event_merge: bool = False
    jumbo: bool = False
    use_prefetcher: bool = False
    hpo: bool = False
    preprocess: Step | None = None
    coprocess: Step | None = None
    postprocess: Step | None = None
    queue_overlay: dict[str, Any] = {}
    storage_overlay: dict[str, Any] = {}
    zip_map: dict[str, tuple[str, ...]] = {}
    user_platform: str = ""
    processing_type: str = ""
    definition_id: int | None = None
    request_id: int | None = None
    priority: int = 0
    user: str = ""
    nucleus: str = ""
    alt_stageout: bool | None = None
    log_to_objectstore: bool = False
    events_by_position: bool = False
    virtual_placement: bool = False
    merging_on_site: bool = False
    event_tokens: tuple[str, ...] = ()
    zip_per_mb: int = 0
    checkpoint_url: str = ""
    scheduler_ip: str = ""
    session_ip: str = ""
    raw: dict[str, Any] = {}

    @property
    def key(self) -> str:
        """The name of this attempt in directories, tables and messages: `<PandaID>.<attemptNr>`."""
        return f"{self.job_id}.{self.attempt}"

    @property
    def by_user(self) -> bool:
        """Whether it is an analysis job: its transformation is a script to be downloaded."""
        return self.transformation.startswith(("http://", "https://"))

    @property
    def all_outputs(self) -> tuple[OutputFile, ...]:
        """The declared outputs and, last, the log archive."""
        return (*self.outputs, *((self.log,) if self.log else ()))


class Exit(msgspec.Struct, frozen=True, omit_defaults=True):
    """How the payload's first process ended: an exit code, or the number of the signal that ended it."""

    code: int | None = None
    signal: int | None = None

    @property
    def status(self) -> int:
        """The exit code as a shell gives it: 128 + n for a payload ended by signal n."""
        return self.code if self.code is not None else 128 + (self.signal or 0)
