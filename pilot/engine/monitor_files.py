"""The two files that prmon would write: a line per look, and the summary. Names, units and columns are prmon's.

Text: tab separated, the first line names the columns; `Time` is epoch s, memory kB, I/O bytes, times s, all whole
numbers. JSON: `Max` (totals for I/O and times), `Avg` (bytes per s for I/O), `HW` (protocol.md 9.1).
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from pilot.core.usage import Sample, Usage
from pilot.lib.procfs import Proc

OUTPUT_NAME = "memory_monitor_output.txt"
SUMMARY_NAME = "memory_monitor_summary.json"
_COLUMNS = (
    "Time wtime stime utime pss rss swap vmem rchar read_bytes wchar write_bytes nprocs nthreads".split()  # noqa: SIM905
)
HEADER = "\t".join(_COLUMNS) + "\n"


def line(sample: Sample) -> str:
    """One line of the text file, with its newline."""
    values = (
        sample.at,
        sample.wall_s,
        sample.system_s,
        sample.user_s,
        sample.pss_kb,
        sample.rss_kb,
        sample.swap_kb,
        sample.vmem_kb,
        sample.rchar,
        sample.read_bytes,
        sample.wchar,
        sample.write_bytes,
        sample.processes,
        sample.threads,
    )
    return "\t".join(str(int(value)) for value in values) + "\n"


def summary(usage: Usage, hardware: dict[str, object]) -> bytes:
    """The JSON summary as one document."""
    wall_s = max(usage.wall_s, 1e-9)
    totals = {
        "rchar": usage.rchar,
        "read_bytes": usage.read_bytes,
        "wchar": usage.wchar,
        "write_bytes": usage.write_bytes,
    }
    largest = {
        "nprocs": usage.max_processes,
        "nthreads": usage.max_threads,
        "pss": usage.max_pss_kb,
        "rss": usage.max_rss_kb,
        "swap": usage.max_swap_kb,
        "vmem": usage.max_vmem_kb,
        "stime": round(usage.system_s, 2),
        "utime": round(usage.user_s, 2),
        "wtime": round(usage.wall_s, 2),
        **totals,
    }
    mean = {
        "nprocs": round(usage.avg_processes, 2),
        "nthreads": round(usage.avg_threads, 2),
        "pss": usage.avg_pss_kb,
        "rss": usage.avg_rss_kb,
        "swap": usage.avg_swap_kb,
        "vmem": usage.avg_vmem_kb,
        **{name: round(value / wall_s) for name, value in totals.items()},
    }
    document = {"Avg": mean, "HW": hardware, "Max": largest, "prmon": {"Version": "pilot"}}
    return msgspec.json.format(msgspec.json.encode(document), indent=1)


class Files:
    """The two files of one payload. A directory that is gone or full costs the files, never the payload."""

    def __init__(self, directory: Path, hardware: dict[str, object]) -> None:
        self._output = directory / OUTPUT_NAME
        self._summary = directory / SUMMARY_NAME
        self._hardware = hardware
        self._begun = False
        self._summed_up_s = 0.0

    def add(self, sample: Sample) -> None:
        """Write one more line (and the first line before it)."""
        try:
            with open(self._output, "a" if self._begun else "w", encoding="ascii") as file:
                file.write(line(sample) if self._begun else HEADER + line(sample))
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


def hardware(proc: Proc) -> dict[str, object]:
    """The machine as prmon's `HW` object tells it: processors and memory (kB)."""
    cpus = [block for block in (proc.read("cpuinfo") or b"").decode(errors="replace").split("\n\n") if block.strip()]
    facts = [dict(_fact(text) for text in block.splitlines() if ":" in text) for block in cpus]
    sockets = len({fact.get("physical id", "0") for fact in facts}) or 1
    cores = len({(fact.get("physical id", "0"), fact.get("core id", str(n))) for n, fact in enumerate(facts)}) or 1
    _, _, memory = (proc.read("meminfo") or b"MemTotal: 0 kB").partition(b"MemTotal:")
    return {
        "cpu": {
            "CPUs": len(facts),
            "CoresPerSocket": cores // sockets,
            "ModelName": facts[0].get("model name", "") if facts else "",
            "Sockets": sockets,
            "ThreadsPerCore": max(1, len(facts) // cores),
        },
        "mem": {"MemTotal": int(memory.split(None, 1)[0])},
    }


def _fact(text: str) -> tuple[str, str]:
    name, _, value = text.partition(":")
    return name.strip(), value.strip()
