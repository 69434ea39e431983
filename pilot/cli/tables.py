"""Plain tables and words for people: aligned text that reads well in a terminal and in a mail."""

from __future__ import annotations

import time
from collections.abc import Sequence

from pilot.lib.files import local_path


def where(url: str | None) -> str:
    """A place for a person: a path for what is on this machine, else the URL."""
    return local_path(url) or url if url else ""


def table(head: Sequence[str], rows: Sequence[Sequence[object]], *, right: Sequence[str] = ()) -> str:
    """Aligned columns; those named in `right` are flush right."""
    text = [[str(cell) for cell in row] for row in rows]
    widths = [max([len(name), *(len(row[n]) for row in text)]) for n, name in enumerate(head)]
    flush = [name in right for name in head]

    def line(cells: Sequence[str]) -> str:
        parts = [c.rjust(w) if r else c.ljust(w) for c, w, r in zip(cells, widths, flush, strict=True)]
        return "  ".join(parts).rstrip()

    return "\n".join([line(head), line(["-" * w for w in widths]), *map(line, text)])


def size(number: float | None) -> str:
    """Bytes for people: `4.0 KiB`."""
    if number is None:
        return "-"
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(number) < 1024:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.1f} TiB"


def seconds(number: float | None) -> str:
    """A duration for people: `0.12 s`, `3 min 5 s`, `2 h 10 min`."""
    if number is None:
        return "-"
    if number < 60:
        return f"{number:.2f} s"
    if number < 3600:
        return f"{number // 60:.0f} min {number % 60:.0f} s"
    return f"{number // 3600:.0f} h {number % 3600 // 60:.0f} min"


def clock(at: float | None) -> str:
    """A time for people, in UTC."""
    return "-" if at is None else time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(at))
