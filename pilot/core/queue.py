"""What a PanDA queue is and allows: the queue data of protocol.md 7.3 under plain names. Pure data."""

from __future__ import annotations

import msgspec


class QueueData(msgspec.Struct, frozen=True, omit_defaults=True):
    """One queue. `name` is its nickname, `resource` what the server calls it, `site` where it is.

    Memory and sizes in MB, times in s; 0 (for `max_input_mb` -1) means no limit. `state` is ACTIVE or not, `status`
    online, test, brokeroff, offline. `containers` maps who is contained (`pilot`, `middleware`) to a runtime's name.
    `copytools` lists tools by activity, `tool_settings` what the queue says of a tool (`{"rucio": {"setup": ...}}`).
    Percentages are over the limit: `rss_grace` 100 means twice the memory.
    """

    name: str
    resource: str = ""
    site: str = ""
    kind: str = "unified"
    state: str = "ACTIVE"
    status: str = "online"
    resource_type: str = "grid"
    cores: int = 1
    max_memory_mb: int = 0
    max_workdir_mb: int = 0
    max_input_mb: int = -1
    max_time_s: int = 0
    time_floor_s: int = 0
    memory_kill_grace: int = 100
    pledged_cpu: int = 0
    zip_gap_s: int = 0
    appdir: str = ""
    platform: str = ""
    environ: dict[str, str] = {}
    cvmfs: bool = True
    containers: dict[str, str] = {}
    container_options: str = ""
    copytools: dict[str, tuple[str, ...]] = {}
    tool_settings: dict[str, dict[str, str]] = {}
    schemes: dict[str, tuple[str, ...]] = {}
    astorages: dict[str, tuple[str, ...]] = {}
    direct_access_lan: bool = False
    direct_access_wan: bool = False
    allow_lan: bool = True
    allow_wan: bool = False
    use_pcache: bool = False
    walltime_grace: int = 0
    rss_grace: int = 100
    workdir_grace: int = 20
    job_maxwalltime: bool = False
    ip_version: str = ""
    allow_alternative: bool | None = None
    flags: dict[str, str] = {}

    @property
    def memory_factor(self) -> float:
        """By how much a job may be above its memory before it is ended."""
        return 1 + self.rss_grace / 100

    @property
    def workdir_limit_mb(self) -> int:
        """The size that ends a job whose work directory exceeds it; 0 for none."""
        return round(self.max_workdir_mb * (1 + self.workdir_grace / 100))

    def wall_limit_s(self, job_max_wall_s: int = 0) -> int:
        """The wall time that a job may take; the job's own limit counts where the queue says so. 0 for none."""
        limit = job_max_wall_s if self.job_maxwalltime and job_max_wall_s else self.max_time_s
        return round(limit * (1 + self.walltime_grace / 100))

    def has(self, flag: str) -> bool:
        """Whether a flag of the catch-all stands, and is not `false`."""
        return self.flags.get(flag, "false").lower() != "false"
