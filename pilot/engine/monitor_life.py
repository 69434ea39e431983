"""Signs of life of a payload: when it last used CPU, read or wrote, or changed a file."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence

from pilot.core.limits import Quiet
from pilot.core.usage import Sample

#: Less than this between two looks is no sign of life: the share of a core, and the bytes read and written.
_CPU_SHARE = 0.002
_IO_BYTES = 64
#: A longer time between two looks than this: the pilot itself was suspended, and the payload with it.
_SUSPENDED_S = 60.0


class Life:
    """Follows one payload. Times in which the pilot was suspended with the payload do not count as quiet."""

    def __init__(self, now: float) -> None:
        self._last: Sample | None = None
        self._looked_at = now
        self._output_at = now
        self._cpu_at = now

    def look(self, sample: Sample, changed_at: float, states: Sequence[str], now: float) -> Quiet:
        """How long it has been quiet. `changed_at` is the newest change of a file (epoch s), `now` monotonic s."""
        gap_s = now - self._looked_at
        if gap_s > _SUSPENDED_S:
            self._output_at += gap_s
            self._cpu_at += gap_s
        self._looked_at = now
        last, self._last = self._last, sample
        if last is None:
            return Quiet()
        io = sample.rchar + sample.wchar - last.rchar - last.wchar
        if io >= _IO_BYTES:
            self._output_at = now
        self._output_at = max(self._output_at, now - max(0.0, time.time() - changed_at))
        if sample.cpu_s - last.cpu_s > _CPU_SHARE * (sample.wall_s - last.wall_s):
            self._cpu_at = now
        return Quiet(now - self._output_at, now - max(self._output_at, self._cpu_at), dict(Counter(states)))
