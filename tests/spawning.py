"""Real processes of a test, as the pilot starts payloads; none of them outlives it."""

from __future__ import annotations

import os
import secrets
import select
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pilot.lib import process

Start = Callable[..., process.Child]


@contextmanager
def python_children(folder: Path, before: str = "", said: str = "payload.stdout") -> Iterator[Start]:
    """Starts Python code, behind the lines `before`, in the folder; the file `said` there takes what it says.

    More keywords are those of `process.spawn`.
    """
    children: list[process.Child] = []

    def spawn(code: str, **how: Any) -> process.Child:
        with open(folder / said, "ab") as out:
            child = process.spawn(
                [sys.executable, "-c", before + code],
                cwd=folder,
                env={"PATH": os.environ["PATH"]},
                stdout=out.fileno(),
                stderr=out.fileno(),
                token=secrets.token_hex(8),
                **how,
            )
        children.append(child)
        return child

    try:
        yield spawn
    finally:
        for child in children:
            child.kill()
            child.poll() or select.select([child.pidfd], [], [], 10)
            child.poll()
            process.reap_strays({child.sid: 0}, {})
            child.close()
