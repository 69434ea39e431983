"""Libraries of the grid in processes of their own: kept while they are of use, ended at once when a transfer must end.

A child reads requests, one JSON text a line, and answers each with some lines of JSON. It needs no package of ours, so
that any Python of the site that has the library will do; what the library takes of memory or breaks is not the pilot's.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pilot.lib.cancel import Cancel
from pilot.plugins.copytools.base import Fault, ToolError, Watch
from pilot.plugins.copytools.external import BOOT, Growth, Stream

_TICK_S = 0.25
_GRACE_S = 5.0


class Children:
    """Processes that run one script of this room. Threads: any; a busy child belongs to one of them."""

    def __init__(self, python: str, script: str, environment: Mapping[str, str]) -> None:
        self._argv = [python, "-c", BOOT, str(Path(__file__).with_name(script))]
        self._environment = dict(environment)
        self._idle: list[_Child] = []
        self._guard = threading.Lock()

    def ask(
        self,
        request: Mapping[str, Any],
        answers: int,
        watch: Watch,
        growing: Sequence[str] = (),
        stream: Stream | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Send a request, with a file after it if there is one, and yield its answers as they come.

        The bytes by which the files `growing` grow are told to the watch. Raises `ToolError`: cancelled, out of time,
        nothing grew for the stall time (where something should grow), or the child died. A child that got only a part
        of a file clears away what it made of it.
        """
        with self._guard:
            child = self._idle.pop() if self._idle else None
        if child is None:
            child = _Child(self._argv, self._environment)
        done, whole = False, True
        try:
            with watch.cancel.calling(child.wake):
                child.send(request)
                if stream is not None:
                    whole = False
                    whole = child.pour(stream, watch)
                growth = Growth(list(growing), watch)
                for _ in range(answers):
                    yield child.receive(watch, growth)
            done = True
        finally:
            if done and whole and not watch.cancel.is_set():
                with self._guard:
                    self._idle.append(child)
            else:
                child.end(0.0 if whole else _GRACE_S)

    def question(self, request: Mapping[str, Any], cancel: Cancel | None, limit_s: float) -> dict[str, Any]:
        """One request with one answer."""
        watch = Watch(cancel or Cancel(), lambda size: limit_s, limit_s)
        watch.begin_plain()
        (answer,) = self.ask(request, 1, watch)
        return answer

    def close(self) -> None:
        """End all idle children."""
        with self._guard:
            idle, self._idle = self._idle, []
        for child in idle:
            child.end()


class _Child:
    """One process and its pipes."""

    def __init__(self, argv: Sequence[str], environment: Mapping[str, str]) -> None:
        try:
            self._popen = subprocess.Popen(
                list(argv),
                env=dict(environment),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            raise ToolError(Fault.NO_TOOL, f"{argv[0]}: {error.strerror}") from error
        self._bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._buffer = b""

    def wake(self) -> None:
        """Stop waiting, from whatever thread."""
        os.eventfd_write(self._bell, 1)

    def send(self, request: Mapping[str, Any]) -> None:
        """Give it a request. Raises `ToolError` when it is dead."""
        assert self._popen.stdin is not None
        try:
            self._popen.stdin.write(json.dumps(request).encode() + b"\n")
            self._popen.stdin.flush()
        except OSError as error:
            raise ToolError(Fault.BROKEN, f"the helper process died: {error.strerror}") from error

    def pour(self, stream: Stream, watch: Watch) -> bool:
        """Give it a file; False if it has answered, or ended, before it took all of it. Raises `ToolError`."""
        assert self._popen.stdin is not None and self._popen.stdout is not None
        answers, pipe = self._popen.stdout.fileno(), self._popen.stdin.fileno()
        os.set_blocking(pipe, False)
        try:
            for block in stream:
                rest = memoryview(block)
                while rest:
                    ready = select.select([answers, self._bell], [pipe], [], min(_TICK_S, watch.stall_s))
                    watch.check()
                    if answers in ready[0]:
                        return False
                    if pipe in ready[1]:
                        rest = rest[os.write(pipe, rest) :]
                    stream.look()
                    if watch.seconds_left <= 0:
                        watch.late()
        except BrokenPipeError:
            return False
        os.set_blocking(pipe, True)
        return True

    def receive(self, watch: Watch, growth: Growth) -> dict[str, Any]:
        """The next answer. Raises `ToolError`."""
        assert self._popen.stdout is not None
        pipe = self._popen.stdout.fileno()
        tick = min(_TICK_S, watch.stall_s) if growth.paths else 3600.0
        while b"\n" not in self._buffer:
            watch.check()
            left = watch.seconds_left
            if left <= 0:
                watch.late()
            ready = select.select([pipe, self._bell], [], [], min(left, tick))[0]
            if pipe in ready:
                data = os.read(pipe, 1 << 16)
                if not data:
                    raise ToolError(Fault.BROKEN, f"the helper process ended with {self._popen.wait()}")
                self._buffer += data
            elif not ready and growth.paths:
                growth.look()
        line, _, self._buffer = self._buffer.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        if answer.get("missing"):
            raise ToolError(Fault.NO_TOOL, str(answer["missing"]))
        return answer

    def end(self, grace_s: float = 0.0) -> None:
        """End it with all that it started; it owns nothing that lasts but what it can clear away in `grace_s`."""
        for stream in (self._popen.stdin, self._popen.stdout):
            if stream is not None:
                try:
                    stream.close()
                except BrokenPipeError:
                    pass
        if grace_s:
            try:
                self._popen.wait(grace_s)
            except subprocess.TimeoutExpired:
                pass  # then what it made has to stay as it is
        try:
            os.killpg(self._popen.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass
        self._popen.wait()
        os.close(self._bell)
