"""Which file a payload is writing to now, and the end of it."""

from __future__ import annotations

import contextlib
import heapq
import os
from collections.abc import Iterator
from pathlib import Path

#: The pilot's own files: their changes say nothing of the payload.
_OWN = frozenset(
    {
        "pilot.log",
        "heartbeat.json",
        "memory_monitor_output.txt",
        "memory_monitor_summary.json",
        "job.json",
        "replay.sh",
        "OutputFiles.xml",
        "PoolFileCatalog.xml",
    }
)
_STREAMS = ("payload.stdout", "payload.stderr")
_CANDIDATES, _PROBE_BYTES, _DEPTH = 16, 1024, 4


def active_log(directory: Path) -> Path | None:
    """The text file below `directory` that was written to last; the payload's own streams win a tie.

    Links, the pilot's own files and binary files are passed over, and directories deeper than four. None if there is
    nothing but empty files.
    """
    newest = heapq.nlargest(_CANDIDATES, _files(directory, _DEPTH), key=lambda item: (item[0], item[1]))
    return next((path for _, _, path in newest if _is_text(path)), None)


def tail(path: Path, size: int) -> str:
    """The last `size` bytes of a file as text, from the beginning of a line if there is one; empty if unreadable."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        begin = max(0, end - size)
        file.seek(begin)
        data = file.read(size)
        if begin and 0 <= data.find(b"\n") < len(data) - 1:
            data = data[data.find(b"\n") + 1 :]
        return data.decode(errors="replace")
    return ""


def _files(directory: Path | str, depth: int) -> Iterator[tuple[int, bool, Path]]:
    with contextlib.suppress(OSError), os.scandir(directory) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                if depth:
                    yield from _files(entry.path, depth - 1)
            elif entry.is_file(follow_symlinks=False) and entry.name not in _OWN:
                with contextlib.suppress(OSError):
                    stat = entry.stat(follow_symlinks=False)
                    if stat.st_size:
                        yield stat.st_mtime_ns, entry.name in _STREAMS, Path(entry.path)


def _is_text(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(0, end - _PROBE_BYTES))
            return b"\0" not in file.read()
    except OSError:
        return False
