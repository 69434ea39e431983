"""The two files that prmon would write: a line per look, and the summary. Names, units and columns are prmon's.

Text: tab separated, the first line names the columns; `Time` is epoch s, memory kB, I/O bytes, times s, all whole
numbers. JSON: `Max` (totals for I/O and times), `Avg` (bytes per s for I/O), `HW` (protocol.md 9.1).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from pilot.core.usage import Sample, Usage
from pilot.lib.procfs import Proc

OUTPUT_NAME = "memory_monitor_output.txt"
SUMMARY_NAME = "memory_monitor_summary.json"
#: prmon's column -> field of `Sample`.
_COLUMNS = {
    "Time": "at",
    "wtime": "wall_s",
    "stime": "system_s",
    "utime": "user_s",
    "pss": "pss_kb",
    "rss": "rss_kb",
    "swap": "swap_kb",
    "vmem": "vmem_kb",
    "rchar": "rchar",
    "read_bytes": "read_bytes",
    "wchar": "wchar",
    "write_bytes": "write_bytes",
    "nprocs": "processes",
    "nthreads": "threads",
}
#: The same for machines with GPUs; a file on another machine does not have these columns.
_GPU_COLUMNS = {
    "ngpus": "gpus",
    "gpufbmem": "gpu_memory_kb",
    "gpumempct": "gpu_memory_percent",
    "gpusmpct": "gpu_percent",
}
_IO = ("rchar", "read_bytes", "wchar", "write_bytes")


def header(gpus: bool) -> str:
    """The first line of the text file."""
    return "\t".join([*_COLUMNS, *(_GPU_COLUMNS if gpus else ())]) + "\n"


def line(sample: Sample, gpus: bool) -> str:
    """One line of the text file, with its newline."""
    fields = [*_COLUMNS.values(), *(_GPU_COLUMNS.values() if gpus else ())]
    return "\t".join(str(int(getattr(sample, name))) for name in fields) + "\n"


def summary(usage: Usage, hardware: dict[str, object]) -> bytes:
    """The JSON summary as one document."""
    wall_s = max(usage.wall_s, 1e-9)
    io = {name: getattr(usage, name) for name in _IO}
    largest = {
        "nprocs": usage.max_processes,
        "nthreads": usage.max_threads,
        "stime": round(usage.system_s, 2),
        "utime": round(usage.user_s, 2),
        "wtime": round(usage.wall_s, 2),
        **{name: getattr(usage, f"max_{name}_kb") for name in ("pss", "rss", "swap", "vmem")},
        **io,
    }
    mean = {
        "nprocs": round(usage.avg_processes, 2),
        "nthreads": round(usage.avg_threads, 2),
        **{name: getattr(usage, f"avg_{name}_kb") for name in ("pss", "rss", "swap", "vmem")},
        **{name: round(value / wall_s) for name, value in io.items()},
    }
    if "gpu" in hardware:
        largest |= {"ngpus": usage.gpus, "gpufbmem": usage.max_gpu_memory_kb}
        largest |= {"gpumempct": round(usage.max_gpu_memory_percent), "gpusmpct": round(usage.max_gpu_percent)}
        mean |= {"ngpus": usage.gpus, "gpufbmem": usage.avg_gpu_memory_kb}
        mean |= {"gpumempct": round(usage.avg_gpu_memory_percent, 2), "gpusmpct": round(usage.avg_gpu_percent, 2)}
    document = {"Avg": mean, "HW": hardware, "Max": largest, "prmon": {"Version": "pilot"}}
    return msgspec.json.format(msgspec.json.encode(document), indent=1)


class Files:
    """The two files of one payload. A directory that is gone or full costs the files, never the payload."""

    def __init__(self, directory: Path, hardware: dict[str, object]) -> None:
        self._output = directory / OUTPUT_NAME
        self._summary = directory / SUMMARY_NAME
        self._hardware = hardware
        self._gpus = "gpu" in hardware
        self._begun = False
        self._summed_up_s = 0.0

    def add(self, sample: Sample) -> None:
        """Write one more line (and the first line before it)."""
        try:
            with open(self._output, "a" if self._begun else "w", encoding="ascii") as file:
                file.write(line(sample, self._gpus) if self._begun else header(self._gpus) + line(sample, self._gpus))
            self._begun = True
        except OSError:
            pass

    def sum_up(self, usage: Usage, *, at_most_every_s: float = 0.0) -> None:
        """Write the summary; a reader sees the old one or the new one, never half of it.

        With `at_most_every_s` it is left for later when it was written, or the payload began, less than that ago.
        """
        if at_most_every_s and usage.wall_s - self._summed_up_s < at_most_every_s:
            return
        self._summed_up_s = usage.wall_s
        new = self._summary.with_name(SUMMARY_NAME + ".new")
        try:
            new.write_bytes(summary(usage, self._hardware))
            os.replace(new, self._summary)
        except OSError:
            pass


def hardware(proc: Proc, gpus: Sequence[str] = ()) -> dict[str, object]:
    """The machine as prmon's `HW` object tells it: processors, memory (kB) and GPUs, if any, by their models."""
    cpus = [block for block in (proc.read("cpuinfo") or b"").decode(errors="replace").split("\n\n") if block.strip()]
    facts = [dict(_fact(text) for text in block.splitlines() if ":" in text) for block in cpus]
    sockets = len({fact.get("physical id", "0") for fact in facts}) or 1
    cores = len({(fact.get("physical id", "0"), fact.get("core id", str(n))) for n, fact in enumerate(facts)}) or 1
    _, _, memory = (proc.read("meminfo") or b"MemTotal: 0 kB").partition(b"MemTotal:")
    gpu = {"nGPU": len(gpus), **{f"gpu_{n}": {"name": name} for n, name in enumerate(gpus)}}
    return {
        "cpu": {
            "CPUs": len(facts),
            "CoresPerSocket": cores // sockets,
            "ModelName": facts[0].get("model name", "") if facts else "",
            "Sockets": sockets,
            "ThreadsPerCore": max(1, len(facts) // cores),
        },
        "mem": {"MemTotal": int(memory.split(None, 1)[0])},
        **({"gpu": gpu} if gpus else {}),
    }


def _fact(text: str) -> tuple[str, str]:
    name, _, value = text.partition(":")
    return name.strip(), value.strip()
