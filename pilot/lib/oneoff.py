"""A program that is run once for what it says."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence


def hear(
    argv: Sequence[str], limit_s: float, env: Mapping[str, str] | None = None, cwd: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run it to its end without any input: its exit code, and all it said as text.

    Without `env` it has the environment of the pilot. Raises `subprocess.TimeoutExpired` when it takes longer than
    `limit_s` s (it is killed then), `OSError` when it cannot be started.
    """
    return subprocess.run(
        argv,
        cwd=cwd,
        env=None if env is None else dict(env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=limit_s,
        check=False,
    )
