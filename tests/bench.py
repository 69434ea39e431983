"""A whole pilot inside the test's own process: real threads, payloads, files and PilotDB, a source in memory.

For what has to happen at an exact moment. Everything about processes and HTTP is tested with `bin/pilot` instead.
"""

from __future__ import annotations

import contextlib
import shlex
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

from pilot.cli import run as command
from pilot.core.settings import Settings
from pilot.core.update import JobUpdate
from pilot.db import away  # noqa: F401 - derives from the real store: to be there before that is replaced here
from pilot.db.fake import ChaosStore
from pilot.engine.agent import Agent
from pilot.engine.means import Means
from pilot.lib.checksum import checksum_of
from pilot.lib.redact import Redactor
from pilot.plugins.sources.dummy import DummySource

_SIGNALS = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGXCPU,
    signal.SIGUSR2,
    signal.SIGHUP,
)
QUICK = {
    "wait": 0.05,
    "kill_after": 0.3,
    "grace": 5.0,
    "getjob_requests": 1,
    "monitor_interval": 0.2,
    "disk_patience": 0.4,
}


def shell_job(
    number: int,
    script: str,
    *,
    outputs: tuple[str, ...] = (),
    inputs: dict[str, Path] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """A description whose payload is a bash script; `inputs` are real files with their true sizes and checksums."""
    files = inputs or {}
    log = f"job.{number}.log.tgz"
    described: dict[str, Any] = {
        "PandaID": number,
        "attemptNr": 1,
        "jobName": f"test {number}",
        "prodSourceLabel": "managed",
        "transformation": "/bin/bash",
        "jobPars": f"-c {shlex.quote(script)}",
        "outFiles": ",".join([*outputs, log]),
        "scopeOut": ",".join(["test"] * len(outputs)),
        "scopeLog": "test",
        "logFile": log,
        "coreCount": 1,
    }
    if files:
        described |= {
            "inFiles": ",".join(files),
            "scopeIn": ",".join(["test"] * len(files)),
            "inFilePaths": ",".join(map(str, files.values())),
            "fsize": ",".join(str(path.stat().st_size) for path in files.values()),
            "checksum": ",".join(
                "ad:" + checksum_of(str(path), ("adler32",)).values()["adler32"] for path in files.values()
            ),
        }
    return described | more


class Stuck(BaseException):
    """The pilot did not end in time."""


class Bench:
    """One work directory and one source, in which several pilots may live and die one after the other."""

    def __init__(self, folder: Path, source: DummySource) -> None:
        self.folder, self.source = folder, source
        self.workdir, self.outputs = folder / "pilot", folder / "outputs"
        self.workdir.mkdir(exist_ok=True)
        self.outputs.mkdir(exist_ok=True)
        self.store: ChaosStore
        self.agent: Agent
        self.means: Means
        self._at: list[tuple[float, Callable[[], object]]] = []

    def at(self, seconds: float, call: Callable[[], object]) -> None:
        """Have something done in the next pilot's loop, so long after its start."""
        self._at.append((seconds, call))

    def run(
        self, *, patience_s: float = 15.0, knobs: Callable[[ChaosStore], None] | None = None, **settings: Any
    ) -> int:
        """Let a pilot live; its exit code. Whatever kills it (see `db.fake`) comes through."""
        chosen = Settings(
            **{
                **QUICK,
                "source": "dummy",
                "workdir": str(self.workdir),
                "output_dir": str(self.outputs),
                **settings,
            }
        )
        handlers = {n: signal.getsignal(n) for n in _SIGNALS}
        self.store = ChaosStore(self.workdir / "pilot.db")
        if knobs:
            knobs(self.store)
        with contextlib.ExitStack() as stack:
            stack.callback(lambda: [signal.signal(n, handler) for n, handler in handlers.items()])
            stack.callback(self.store.close)
            stack.enter_context(patch("pilot.db.store.Store", lambda path, clean=None: self.store))
            stack.enter_context(patch("pilot.engine.agent.Agent", lambda means: self._agent(means, patience_s, stack)))
            stack.enter_context(patch.object(command, "_source", lambda *args: self.source))
            return command._run(chosen, self.workdir, (), Redactor(), stack)

    def _agent(self, means: Means, patience_s: float, stack: contextlib.ExitStack) -> Agent:
        self.means, self.agent = means, Agent(means)
        stack.callback(self._clear_away)
        means.loop.after(patience_s, self._stuck)
        for seconds, call in self._at:
            means.loop.after(seconds, call)
        self._at.clear()
        return self.agent

    def _clear_away(self) -> None:
        """What a pilot that died would have left to the kernel."""
        for run in self.agent.runner.active.values():
            run.log.close()
            if run.child is not None:
                run.child._popen.returncode = 0  # whoever comes next ends it: no warning about it
        self.means.monitor.close()
        self.means.loop.close()

    def final(self, number: int) -> JobUpdate:
        """The final report that was accepted."""
        return self.source.final[f"{number}.1"]

    def finals(self, number: int) -> int:
        """How many final reports reached the server, repetitions included."""
        return sum(update.job_id == number and update.state.final for update in self.source.told)

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """The PilotDB's file, between two pilots."""
        db = sqlite3.connect(self.workdir / "pilot.db")
        try:
            yield db
        finally:
            db.close()

    def directory(self, number: int) -> Path:
        """The job's directory."""
        return self.workdir / f"job-{number}.1"

    def _stuck(self) -> None:
        where = {key: str(run.job.phase) for key, run in self.agent.runner.active.items()}
        for run in self.agent.runner.active.values():
            if run.child is not None:
                run.child.kill()
        raise Stuck(f"under way: {where}, waiting: {len(self.agent._waiting)}")


def patience(found: Callable[[], bool], seconds: float = 10.0) -> bool:
    """Wait until something is so; whether it came to be."""
    end = time.monotonic() + seconds
    while not found():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True
