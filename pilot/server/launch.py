"""A job server as a process of its own, for tests and demonstrations."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pilot.lib.program import own_command, own_environment

_PATIENCE_S = 5.0


@dataclass(frozen=True)
class RunningServer:
    """A server that answers at `url`; kill or restart `process` at will."""

    url: str
    process: subprocess.Popen[bytes]


@contextlib.contextmanager
def running_server(
    db: Path, dialect: str = "both", *, port: int = 0, options: Sequence[str] = (), log: Path | None = None
) -> Iterator[RunningServer]:
    """Starts `pilot serve` on loopback, waits until it answers, ends it on leaving.

    `options` are further options of `pilot serve`; `log` takes its stderr, which otherwise goes where ours goes.
    Raises `RuntimeError` if the server does not start.
    """
    command = own_command("serve", "--host", "127.0.0.1", "--port", str(port), "--db", str(db), "--dialect", dialect)
    # The server reads its stdin, and so it ends with this process even after a kill -9.
    command += ["--end-with-stdin", *options]
    with contextlib.ExitStack() as stack:
        stderr = stack.enter_context(log.open("ab")) if log else None
        process = stack.enter_context(
            subprocess.Popen(
                command, env=own_environment(), stdout=subprocess.PIPE, stderr=stderr, stdin=subprocess.PIPE
            )
        )
        stack.callback(_end, process)
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"the job server did not start: exit code {process.wait(_PATIENCE_S)}")
        yield RunningServer(json.loads(line)["url"], process)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
