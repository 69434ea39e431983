"""From samples to a summary, one sample at a time. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from pilot.core.usage import Sample, Usage

_MEMORY = ("vmem_kb", "pss_kb", "rss_kb", "swap_kb")
_GPU = ("gpu_memory_kb", "gpu_percent", "gpu_memory_percent")
_LEVELS = (*_MEMORY, *_GPU, "processes", "threads", "workdir_kb", "open_files", "gpus")
_TOTALS = (
    *("rchar", "wchar", "read_bytes", "write_bytes", "user_s", "system_s"),
    *("throttled_s", "stalled_cpu_s", "stalled_memory_s", "stalled_io_s"),
)
#: How long an unsettled PSS may be left out of the maximum: by then the walks should have caught up.
_UNSETTLED_S = 30.0


class Tally:
    """Adds up the samples of one payload. Means weigh each value by the time for which it stood."""

    def __init__(self) -> None:
        self.last: Sample | None = None
        self._first_s = 0.0
        self._span_s = 0.0
        self._samples = 0
        self._settled_s = 0.0
        self._doubtful_pss_kb = 0
        self._max = dict.fromkeys(_LEVELS, 0)
        self._area = dict.fromkeys(_LEVELS, 0.0)

    @property
    def max_pss_kb(self) -> int:
        """The largest PSS so far that is not in doubt."""
        return self._max["pss_kb"]

    def add(self, sample: Sample) -> None:
        """Take one more look at the living payload into account."""
        last = self.last
        span_s = max(0.0, sample.wall_s - last.wall_s) if last else 0.0
        self._first_s = self._first_s if last else sample.wall_s
        self._span_s = sample.wall_s - self._first_s
        if sample.pss_settled:
            self._settled_s = sample.wall_s
        self._doubtful_pss_kb = max(self._doubtful_pss_kb, sample.pss_kb)
        doubtful = sample.wall_s - self._settled_s <= _UNSETTLED_S and not sample.pss_settled
        for name in _LEVELS:
            value = getattr(sample, name)
            if not (doubtful and name == "pss_kb"):
                self._max[name] = max(self._max[name], value)
            self._area[name] += span_s * (value + getattr(last, name)) / 2 if last else 0.0
        self._samples += 1
        self.last = sample

    def finish(self, sample: Sample) -> None:
        """Take the totals of a payload that has ended; its memory is gone by now and says nothing."""
        levels = {name: getattr(self.last or sample, name) for name in _LEVELS if name != "workdir_kb"}
        self._max["workdir_kb"] = max(self._max["workdir_kb"], sample.workdir_kb)
        self.last = msgspec.structs.replace(sample, **levels)

    def usage(self) -> Usage:
        """The summary of all samples so far."""
        last = self.last
        if last is None:
            return Usage()
        figures: dict[str, Any] = {f"max_{name}": self._max[name] for name in (*_MEMORY, "gpu_memory_kb")}
        figures |= {f"avg_{name}": round(self._mean(name)) for name in (*_MEMORY, "gpu_memory_kb")}
        figures |= {name: getattr(last, name) for name in _TOTALS}
        usage = Usage(
            wall_s=last.wall_s,
            samples=self._samples,
            max_open_files=self._max["open_files"],
            max_processes=self._max["processes"],
            max_threads=self._max["threads"],
            avg_processes=self._mean("processes"),
            avg_threads=self._mean("threads"),
            workdir_kb=last.workdir_kb,
            max_workdir_kb=self._max["workdir_kb"],
            gpus=self._max["gpus"],
            max_gpu_percent=self._max["gpu_percent"],
            avg_gpu_percent=self._mean("gpu_percent"),
            max_gpu_memory_percent=self._max["gpu_memory_percent"],
            avg_gpu_memory_percent=self._mean("gpu_memory_percent"),
            **figures,
        )
        return usage if usage.max_pss_kb else msgspec.structs.replace(usage, max_pss_kb=self._doubtful_pss_kb)

    def _mean(self, name: str) -> float:
        """The mean over the time between the first and the last look; the value itself when there was one look."""
        return self._area[name] / self._span_s if self._span_s > 0 else float(self._max[name])
