"""Ends the services of a test session however the session ends, also by SIGKILL: a process of its own hears of it.

It holds the reading end of a pipe whose other end the session has; the kernel closes that with the session."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.system.services import lifecycle
from tests.system.services.ground import REPOSITORY, Ground

_LEAVE_S = 60


@contextmanager
def guarded(ground: Ground) -> Iterator[None]:
    """Within, nothing that this process takes outlives it, unless somebody else uses it or it was started to stay."""
    words = [sys.executable, "-m", __name__, str(ground.cache), str(ground.run)]
    nowhere = subprocess.DEVNULL
    with subprocess.Popen(
        words, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=nowhere, stderr=nowhere, start_new_session=True
    ) as guard:
        try:
            yield
        finally:
            if guard.stdin:
                guard.stdin.close()
            guard.wait(_LEAVE_S)


def main() -> None:
    """Wait for the end of whoever started this, then stop what nobody holds."""
    cache, run = map(Path, sys.argv[1:])
    sys.stdin.buffer.read()
    lifecycle.sweep(Ground(cache=cache, run=run))


if __name__ == "__main__":
    main()
