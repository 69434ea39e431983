"""The two files that prmon would write: a line per look, and the summary. Names, units and columns are prmon's.

Text: tab separated, the first line names the columns; `Time` is epoch s, memory kB, I/O bytes, times s, all whole
numbers. JSON: `Max` (totals for I/O and times), `Avg` (bytes per s for I/O), `HW` (protocol.md 9.1).
"""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Sequence
from pathlib import Path

import msgspec

from pilot.core.usage import Sample, Usage
from pilot.lib.gpu import Model
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
_LEVELS = ("pss_kb", "rss_kb", "swap_kb", "vmem_kb", "processes", "threads", "gpus", "gpu_memory_kb")
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
    """The two files of one payload. A directory that is gone or full costs the files, never the payload.

    `add` and `sum_up` only note; `write` writes what was noted, and may be called from another thread. The text file
    has one line a second at most, as prmon's: its readers take `Time` for unique. A second sample of the same second
    takes the place of the first, with the larger memory of both.
    """

    def __init__(self, directory: Path, hardware: dict[str, object]) -> None:
        self._output = directory / OUTPUT_NAME
        self._summary = directory / SUMMARY_NAME
        self._hardware = hardware
        self._gpus = "gpu" in hardware
        self._samples: deque[Sample] = deque()
        self._usage: Usage | None = None
        self._last: Sample | None = None
        self._last_line_at = 0
        self._summed_up_s = 0.0

    def add(self, sample: Sample) -> None:
        """Note a sample for one more line (and the first line before it)."""
        self._samples.append(sample)

    def sum_up(self, usage: Usage, *, at_most_every_s: float = 0.0) -> None:
        """Note what the summary shall say; a reader sees the old one or the new one, never half of it.

        With `at_most_every_s` it is left for later when it was written, or the payload began, less than that ago.
        """
        if at_most_every_s and usage.wall_s - self._summed_up_s < at_most_every_s:
            return
        self._summed_up_s = usage.wall_s
        self._usage = usage

    def write(self) -> None:
        """Write what was noted. One thread at a time."""
        with contextlib.suppress(OSError):
            self._write_lines()
        usage, self._usage = self._usage, None
        if usage is not None:
            self._write_summary(usage)

    def _write_lines(self) -> None:
        if not self._samples:
            return
        with open(self._output, "r+" if self._last else "w", encoding="ascii") as file:
            file.seek(0, os.SEEK_END)
            if self._last is None:
                file.write(header(self._gpus))
            while self._samples:
                sample, last = self._samples.popleft(), self._last
                if last is not None and int(sample.at) <= int(last.at):
                    sample = _joined(last, sample)
                    file.truncate(self._last_line_at)
                    file.seek(self._last_line_at)
                self._last_line_at = file.tell()
                file.write(line(sample, self._gpus))
                self._last = sample

    def _write_summary(self, usage: Usage) -> None:
        new = self._summary.with_name(SUMMARY_NAME + ".new")
        try:
            new.write_bytes(summary(usage, self._hardware))
            os.replace(new, self._summary)
        except OSError:
            pass


def _joined(one: Sample, later: Sample) -> Sample:
    """Two samples of one second: the later one's totals, the larger levels of both."""
    levels = {name: max(getattr(one, name), getattr(later, name)) for name in _LEVELS}
    return msgspec.structs.replace(later, at=one.at, **levels)


def hardware(proc: Proc, gpus: Sequence[Model] = ()) -> dict[str, object]:
    """The machine as prmon's `HW` object tells it: processors, memory (kB) and GPUs, if any, by their models."""
    cpus = [block for block in (proc.read("cpuinfo") or b"").decode(errors="replace").split("\n\n") if block.strip()]
    facts = [dict(_fact(text) for text in block.splitlines() if ":" in text) for block in cpus]
    sockets = len({fact.get("physical id", "0") for fact in facts}) or 1
    cores = len({(fact.get("physical id", "0"), fact.get("core id", str(n))) for n, fact in enumerate(facts)}) or 1
    _, _, memory = (proc.read("meminfo") or b"MemTotal: 0 kB").partition(b"MemTotal:")
    models = [{"name": one.name, "sm_freq": one.clock_mhz, "total_mem": one.memory_kb} for one in gpus]
    gpu = {"nGPU": len(gpus), **{f"gpu_{n}": model for n, model in enumerate(models)}}
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
