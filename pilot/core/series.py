"""What a time series of samples tells beside maxima: whether memory leaks, and its shape in fewer points. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import msgspec

_T = TypeVar("_T")


class Leak(msgspec.Struct, frozen=True):
    """The line through PSS + swap over time: `slope_kb_s`, `intersect_kb` (at time 0) and the reduced `chi2`."""

    slope_kb_s: float
    intersect_kb: float
    chi2: float


def memory_leak(times_s: Sequence[float], memory_kb: Sequence[float]) -> Leak | None:
    """Fit a line to PSS + swap of a payload that has ended, None for less than eight points (protocol.md 9.1).

    A start and an end that do not belong to the line are left out: of less than 100 points the first five and the
    last two; of more, points from both edges as long as each step betters chi2 by more than a quarter, at most a
    third of all. The chi2 is relative to the expected value (Pearson's), per degree of freedom.
    """
    if len(times_s) < 8:
        return None
    if len(times_s) < 100:
        return _line(times_s[5:-2], memory_kb[5:-2]) if len(times_s) >= 10 else _line(times_s, memory_kb)
    return _trimmed(times_s, memory_kb)


def _trimmed(times_s: Sequence[float], memory_kb: Sequence[float]) -> Leak:
    first, last = 0, len(times_s)
    step = max(1, len(times_s) // 50)
    best = _line(times_s, memory_kb)
    while last - first - step >= len(times_s) * 2 / 3:
        left = _line(times_s[first + step : last], memory_kb[first + step : last])
        right = _line(times_s[first : last - step], memory_kb[first : last - step])
        better = min(left, right, key=lambda fit: fit.chi2)
        if better.chi2 >= 0.75 * best.chi2:
            break
        best = better
        first, last = (first + step, last) if better is left else (first, last - step)
    return best


def _line(x: Sequence[float], y: Sequence[float]) -> Leak:
    """Linear least squares; times are taken from their mean, for they are epoch s and large."""
    n = len(x)
    mean_x, mean_y = sum(x) / n, sum(y) / n
    spread = sum((a - mean_x) ** 2 for a in x)
    slope = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / spread if spread else 0.0
    intersect = mean_y - slope * mean_x
    chi2 = sum(
        (b - mean_y - slope * (a - mean_x)) ** 2 / max(1.0, abs(mean_y + slope * (a - mean_x)))
        for a, b in zip(x, y, strict=True)
    )
    return Leak(slope, intersect, chi2 / max(1, n - 2))


def thinned(points: Sequence[_T], keep: int, value: Sequence[float]) -> list[_T]:
    """At most `keep` of the points, in order: the first, the last, and the lowest and the highest of each stretch.

    `value` gives the figure of each point whose peaks must survive. Short series are returned whole.
    """
    if len(points) <= keep or keep < 4:
        return list(points) if len(points) <= keep else [points[0], *([points[-1]] if keep > 1 else [])]
    stretches = (keep - 2) // 2
    chosen = {0, len(points) - 1}
    inner = len(points) - 2
    for n in range(stretches):
        part = range(1 + inner * n // stretches, 1 + inner * (n + 1) // stretches)
        chosen.add(min(part, key=value.__getitem__))
        chosen.add(max(part, key=value.__getitem__))
    return [points[n] for n in sorted(chosen)]
