"""A small CPU benchmark of our own; `command` is what runs it in a process of its own and prints the score.

Like DB12 it draws normal random numbers and sums them up, and its score has DB12's scale: 12.5 million draws in 250 s
of CPU time are 1. It answers for one core, in about the given CPU time, and needs nothing but an interpreter.
"""

from __future__ import annotations

import random
import sys
import time

_DRAWS_OF_ONE = 12_500_000 / 250
_BATCH = 20_000


def whirl(cpu_s: float) -> float:
    """The score of the core that this runs on, from about `cpu_s` of CPU time."""
    draw = random.Random(20).normalvariate
    draws = 0
    begun = time.process_time()
    total = squares = 0.0
    while (spent_s := time.process_time() - begun) < cpu_s:
        for _ in range(_BATCH):
            value = draw(10.0, 1.0)
            total += value
            squares += value * value
        draws += _BATCH
    return draws / spent_s / _DRAWS_OF_ONE if spent_s > 0 else 0.0


def command(cpu_s: float) -> list[str]:
    """The arguments of a process that warms up, whirls and prints its score."""
    return [sys.executable, "-P", "-c", f"from {__name__} import whirl; whirl(0.05); print(whirl({cpu_s!r}))"]
