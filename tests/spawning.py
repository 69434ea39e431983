"""Real processes of a test, as the pilot starts payloads; none of them outlives it."""

from __future__ import annotations

import os
import secrets
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
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


#: Shell code that says that it is ready, and tidies up when it is told to end.
TIDY = 'trap "sleep 0.2; touch tidied; exit 7" TERM; touch ready; while :; do sleep 0.02; done'


def told_to_end(argv: Sequence[str], folder: Path) -> int:
    """Run a command around `TIDY` in the folder and tell its group to end once it is ready; its exit code."""
    with subprocess.Popen(argv, cwd=folder, start_new_session=True) as process:
        end = time.monotonic() + 30
        while not (folder / "ready").exists():
            assert time.monotonic() < end
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGTERM)
        return process.wait(30)
