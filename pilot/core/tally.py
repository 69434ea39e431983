"""From samples to a summary, one sample at a time. Pure."""

from __future__ import annotations

import msgspec

from pilot.core.usage import Sample, Usage

_LEVELS = ("vmem_kb", "pss_kb", "rss_kb", "swap_kb", "processes", "threads")
_TOTALS = ("rchar", "wchar", "read_bytes", "write_bytes", "user_s", "system_s")


class Tally:
    """Adds up the samples of one payload. Means weigh each value by the time for which it stood."""

    def __init__(self) -> None:
        self.last: Sample | None = None
        self._first_s = 0.0
        self._span_s = 0.0
        self._samples = 0
        self._open_files = 0
        self._max = dict.fromkeys(_LEVELS, 0)
        self._area = dict.fromkeys(_LEVELS, 0.0)

    def add(self, sample: Sample) -> None:
        """Take one more look at the living payload into account."""
        last = self.last
        span_s = max(0.0, sample.wall_s - last.wall_s) if last else 0.0
        self._first_s = self._first_s if last else sample.wall_s
        self._span_s = sample.wall_s - self._first_s
        for name in _LEVELS:
            value = getattr(sample, name)
            self._max[name] = max(self._max[name], value)
            self._area[name] += span_s * (value + getattr(last, name)) / 2 if last else 0.0
        self._open_files = max(self._open_files, sample.open_files)
        self._samples += 1
        self.last = sample

    def finish(self, sample: Sample) -> None:
        """Take the totals of a payload that has ended; its memory is gone by now and says nothing."""
        levels = {name: getattr(self.last or sample, name) for name in _LEVELS}
        self.last = msgspec.structs.replace(sample, **levels)

    def usage(self) -> Usage:
        """The summary of all samples so far."""
        last = self.last
        if last is None:
            return Usage()
        return Usage(
            wall_s=last.wall_s,
            samples=self._samples,
            max_open_files=self._open_files,
            max_processes=self._max["processes"],
            max_threads=self._max["threads"],
            avg_processes=self._mean("processes"),
            avg_threads=self._mean("threads"),
            **{f"max_{name}": self._max[name] for name in _LEVELS if name.endswith("_kb")},
            **{f"avg_{name}": round(self._mean(name)) for name in _LEVELS if name.endswith("_kb")},
            **{name: getattr(last, name) for name in _TOTALS},
        )

    def _mean(self, name: str) -> float:
        """The mean over the time between the first and the last look; the value itself when there was one look."""
        return self._area[name] / self._span_s if self._span_s > 0 else float(self._max[name])
