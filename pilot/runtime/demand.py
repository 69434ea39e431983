"""How many event ranges to ask for: so many that no worker waits, never more than can be worked through. Pure.

A worker that needs `wall_s` for a range uses `1 / wall_s` of them a second. While the server answers, the workers live
on the stock; so the stock must last for an answer and a bit, and a request brings it up to some seconds of work. Where
ranges are long, one spare range is stock enough: a worker that waits a tenth of a second for ten minutes of work does
not matter, but a range that lies here idle could be worked through elsewhere.
"""

from __future__ import annotations

import math

import msgspec


class Limits(msgspec.Struct, frozen=True):
    """`horizon_s`: seconds of work that a request brings. `most`: ranges in one request. `first`: ranges per worker
    while nobody knows how long one takes (more where answers take long). `reserve_s`: what the end needs to pack,
    store and tell, where the whole time is ten times as long or more."""

    horizon_s: float = 5.0
    most: int = 20_000
    first: int = 2
    reserve_s: float = 60.0


class Pace(msgspec.Struct, frozen=True):
    """What has been measured: wall time of a range and of the server's answer, both in s. None: nothing yet."""

    wall_s: float | None = None
    answer_s: float | None = None

    def worked(self, wall_s: float) -> Pace:
        """The same after one more range."""
        old = self.wall_s
        return msgspec.structs.replace(self, wall_s=wall_s if old is None else 0.9 * old + 0.1 * wall_s)

    def answered(self, seconds: float) -> Pace:
        """The same after one more answer; slow answers are remembered longer than quick ones."""
        smooth = seconds if self.answer_s is None else 0.7 * self.answer_s + 0.3 * seconds
        return msgspec.structs.replace(self, answer_s=max(seconds, smooth))


DEFAULT = Limits()


def wanted(
    workers: int, ready: int, held: int, pace: Pace, seconds_left: float | None = None, limits: Limits = DEFAULT
) -> int:
    """How many ranges to ask for now; 0 means: not now. `held` are with workers, `ready` wait for one.

    `seconds_left` are those in which ranges can be worked through; None: nobody knows an end.
    """
    workers = max(workers, 1)
    answer_s = pace.answer_s if pace.answer_s is not None else 0.5
    if pace.wall_s is None:
        low, high = workers, math.ceil(limits.first * workers * (1 + answer_s / 10))
    else:
        rate = workers / max(pace.wall_s, 1e-6)
        cover = rate * (2.0 * answer_s + 0.5)
        at_once = workers * min(1.0, 30.0 * (answer_s + 0.1) / max(pace.wall_s, 1e-6))
        low = math.ceil(cover + at_once)
        high = low + math.ceil(rate * limits.horizon_s) - (1 if rate * limits.horizon_s < 1 else 0)
    if ready >= low:
        return 0
    count = min(high - ready, limits.most)
    if seconds_left is not None:
        count = min(count, _room(workers, pace, seconds_left) - ready - held)
    return max(count, 0)


def _room(workers: int, pace: Pace, seconds: float) -> int:
    """How many ranges can be worked through from now on, those with workers included.

    While nobody knows how long one takes, every worker gets one as long as there is time at all.
    """
    if seconds <= 0:
        return 0
    if pace.wall_s is None:
        return 2 * workers
    return math.floor(workers * seconds / max(pace.wall_s, 1e-6))
