"""Which processors are close to which memory."""

from __future__ import annotations

import re
from pathlib import Path


def nodes(root: Path = Path("/")) -> tuple[frozenset[int], ...]:
    """The processors of each NUMA node, in the nodes' order; empty where the kernel does not tell."""
    found = {}
    for folder in (root / "sys/devices/system/node").glob("node*"):
        number = re.fullmatch(r"node(\d+)", folder.name)
        try:
            text = (folder / "cpulist").read_text()
        except OSError:
            continue
        if number and (cpus := cpu_list(text)):
            found[int(number[1])] = cpus
    return tuple(found[number] for number in sorted(found))


def cpu_list(text: str) -> frozenset[int]:
    """`0-3,8` as numbers; pieces that are no such thing count for nothing."""
    numbers: set[int] = set()
    for piece in text.strip().split(","):
        if ends := re.fullmatch(r"(\d+)(?:-(\d+))?", piece.strip()):
            numbers.update(range(int(ends[1]), int(ends[2] or ends[1]) + 1))
    return frozenset(numbers)
