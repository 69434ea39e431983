"""What a payload uses up: one sample, and the summary of all of them. Pure data in prmon's terms and units."""

from __future__ import annotations

import msgspec


class Sample(msgspec.Struct, frozen=True, omit_defaults=True):
    """One look at all processes of one payload.

    `at` is epoch s; memory in kB; I/O in bytes and CPU in s, both counted since the payload's start and with the
    share of processes that have ended. `pss_kb` between two page walks follows the RSS; `pss_settled` is False while
    processes came or went and the budget did not yet allow to walk their pages and their kin's.
    `throttled_s` and the `stalled_*_s` (time in which at least one task waited: pressure stall information) are
    totals of the payload's cgroup. GPU memory is in kB, the GPU percentages are sums over the GPUs in use.
    """

    at: float
    wall_s: float = 0.0
    vmem_kb: int = 0
    pss_kb: int = 0
    rss_kb: int = 0
    swap_kb: int = 0
    rchar: int = 0
    wchar: int = 0
    read_bytes: int = 0
    write_bytes: int = 0
    user_s: float = 0.0
    system_s: float = 0.0
    processes: int = 0
    threads: int = 0
    open_files: int = 0
    pss_settled: bool = True
    workdir_kb: int = 0
    throttled_s: float = 0.0
    stalled_cpu_s: float = 0.0
    stalled_memory_s: float = 0.0
    stalled_io_s: float = 0.0
    gpus: int = 0
    gpu_memory_kb: int = 0
    gpu_percent: float = 0.0
    gpu_memory_percent: float = 0.0

    @property
    def cpu_s(self) -> float:
        """User and system time of all processes in s."""
        return self.user_s + self.system_s


class Usage(msgspec.Struct, frozen=True, omit_defaults=True):
    """The summary of a payload: maxima and means of the memory (kB), totals of CPU (s) and I/O (bytes).

    Means are weighted by time. `oom_kills` counts what the kernel ended for lack of memory in the payload's cgroup.
    `cgroup_peak_kb` is its peak of memory with the page cache. `core_dumps` are the core files found in the work
    directory, relative to it. `pss_at_most`: the peak was not seen while it lasted; `max_pss_kb` is then what the
    kernel noted for the largest process (RSS), of which an unknown part was shared.
    """

    wall_s: float = 0.0
    samples: int = 0
    user_s: float = 0.0
    system_s: float = 0.0
    max_vmem_kb: int = 0
    max_pss_kb: int = 0
    pss_at_most: bool = False
    max_rss_kb: int = 0
    max_swap_kb: int = 0
    avg_vmem_kb: int = 0
    avg_pss_kb: int = 0
    avg_rss_kb: int = 0
    avg_swap_kb: int = 0
    rchar: int = 0
    wchar: int = 0
    read_bytes: int = 0
    write_bytes: int = 0
    max_processes: int = 0
    max_threads: int = 0
    max_open_files: int = 0
    avg_processes: float = 0.0
    avg_threads: float = 0.0
    oom_kills: int = 0
    cgroup_peak_kb: int = 0
    workdir_kb: int = 0
    max_workdir_kb: int = 0
    throttled_s: float = 0.0
    stalled_cpu_s: float = 0.0
    stalled_memory_s: float = 0.0
    stalled_io_s: float = 0.0
    gpus: int = 0
    max_gpu_memory_kb: int = 0
    avg_gpu_memory_kb: int = 0
    max_gpu_percent: float = 0.0
    avg_gpu_percent: float = 0.0
    max_gpu_memory_percent: float = 0.0
    avg_gpu_memory_percent: float = 0.0
    core_dumps: tuple[str, ...] = ()

    @property
    def cpu_s(self) -> float:
        """User and system time of all processes in s."""
        return self.user_s + self.system_s
