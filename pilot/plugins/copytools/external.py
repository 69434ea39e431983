"""What tools have in common that leave the work to a program of the site."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from pilot.core.staging import ToolSettings
from pilot.lib.cancel import Cancel
from pilot.lib.checksum import Hasher, checksum_of
from pilot.lib.command import Ran, run
from pilot.plugins.copytools.base import Fault, Move, Moved, ToolError, Watch, source_fault

_TICK_S = 0.25
_NO_PROGRAM = 127
#: Runs a script without its folder, or the current one, on the path: our modules share names with libraries'.
BOOT = (
    "import sys; sys.path.pop(0); name = sys.argv[1]; "
    "exec(compile(open(name).read(), name, 'exec'), {'__name__': '__main__'})"
)


def find_program(name: str, environment: Mapping[str, str]) -> str | None:
    """Where a program is, by the PATH that children get."""
    return shutil.which(name, path=environment.get("PATH") or os.defpath)


def call(
    settings: ToolSettings,
    argv: Sequence[str],
    watch: Watch,
    growing: Iterable[str] = (),
    env: Mapping[str, str] | None = None,
) -> Ran:
    """Run a program for a transfer; the bytes by which the files `growing` grow are told as progress.

    Raises `ToolError`: cancelled, out of time, nothing grew for the stall time, or the program is not there.
    """
    growth = Growth(list(growing), watch)
    try:
        ran = run(
            argv,
            env=_merged(settings, env or {}),
            cancel=watch.cancel,
            limit_s=watch.seconds_left,
            tick_s=min(_TICK_S, watch.stall_s),
            on_tick=growth.look if growth.paths else None,
        )
    except OSError as error:
        raise ToolError(Fault.NO_TOOL, f"{argv[0]}: {error.strerror}") from error
    if ran.cancelled:
        raise ToolError(Fault.CANCELLED)
    if ran.late:
        watch.late()
    growth.look(last=True)
    return ran


class Stream:
    """A local file on its way into a program, as blocks that other targets are fed from as well; `hasher` is of it.

    What it raises stands for the file: `CUT` if it gets shorter meanwhile.
    """

    def __init__(self, move: Move, source: int, size: int, watch: Watch) -> None:
        self.hasher = Hasher(move.kinds)
        self.size = size
        self.taken = 0
        self._blocks = move.feed.blocks(source)
        self._watch = watch
        self._moved_at = time.monotonic()

    def __iter__(self) -> Iterator[bytes]:
        """The blocks, each told as progress when the next one is asked for."""
        for block in self._blocks:
            self.hasher.update(block)
            self._moved_at = time.monotonic()
            yield block
            self.taken += len(block)
            self._watch.moved(len(block))
            self._moved_at = time.monotonic()
        if self.taken != self.size:
            raise ToolError(Fault.CUT, "the file changed while it was sent")

    def look(self) -> None:
        """Raise `ToolError` when nothing has been taken for the stall time."""
        if self.taken < self.size and time.monotonic() - self._moved_at > self._watch.stall_s:
            raise ToolError(Fault.STALLED, f"not a byte was taken for {self._watch.stall_s:.0f} s")

    def moved(self) -> Moved:
        """What can be told of it once it has gone."""
        return Moved(self.size, self.hasher.values(), self.hasher.seconds)


def apart(move: Move, watch: Watch) -> dict[str, str]:
    """The checksums of a local source that is sent by what can only read it itself; no other target waits for it."""
    move.feed.leave()
    try:
        return checksum_of(move.source, move.kinds, lambda count: watch.check()).values()
    except OSError as error:
        raise source_fault(error, move.source) from error


def call_with(
    settings: ToolSettings,
    argv: Sequence[str],
    stream: Stream,
    watch: Watch,
    env: Mapping[str, str],
    clean: Sequence[str] = (),
) -> Ran:
    """Run a program that takes a file from its standard input.

    For such programs an early end is an end like any other. Between it and us a guard therefore sees to it that, should
    we come to an end in the middle, the program is killed and `clean` is run in its place. Raises as `call`.
    """
    guard = [sys.executable, "-ISc", BOOT, str(Path(__file__).with_name("stream_guard.py"))]
    try:
        ran = run(
            [*guard, str(stream.size), str(len(clean)), *clean, *argv],
            env=_merged(settings, env),
            cancel=watch.cancel,
            limit_s=watch.seconds_left,
            pieces=iter(stream),
            tick_s=min(_TICK_S, watch.stall_s),
            on_tick=stream.look,
        )
    except OSError as error:
        raise ToolError(Fault.NO_TOOL, f"{argv[0]}: {error.strerror}") from error
    if ran.cancelled:
        raise ToolError(Fault.CANCELLED)
    if ran.late:
        watch.late()
    if ran.code == _NO_PROGRAM:
        raise ToolError(Fault.NO_TOOL, ran.last_line())
    return ran


def ask(settings: ToolSettings, argv: Sequence[str], cancel: Cancel | None, env: Mapping[str, str]) -> Ran:
    """Run a program for a question. Raises `ToolError`."""
    limit_s = settings.stall_s
    try:
        ran = run(argv, env=_merged(settings, env), cancel=cancel or Cancel(), limit_s=limit_s)
    except OSError as error:
        raise ToolError(Fault.NO_TOOL, f"{argv[0]}: {error.strerror}") from error
    if ran.cancelled:
        raise ToolError(Fault.CANCELLED)
    if ran.late:
        raise ToolError(Fault.TIMEOUT, f"{argv[0]} gave no answer in {limit_s:.0f} s")
    return ran


def _merged(settings: ToolSettings, env: Mapping[str, str]) -> dict[str, str]:
    """The environment of a child; an empty value takes a variable away."""
    return {name: value for name, value in {**settings.environment, **env}.items() if value or name not in env}


class Growth:
    """Looks at files from time to time and tells the watch by how much they grew."""

    def __init__(self, paths: list[str], watch: Watch) -> None:
        self.paths = paths
        self._watch = watch
        self._seen = 0
        self._moved_at = time.monotonic()

    def look(self, last: bool = False) -> None:
        """Look now. Raises `ToolError` when nothing has grown for the stall time, unless it is the `last` look."""
        size = 0
        for path in self.paths:
            try:
                size += os.stat(path).st_size
            except OSError:
                continue
        if size > self._seen:
            grown, self._seen, self._moved_at = size - self._seen, size, time.monotonic()
            self._watch.moved(grown)
        elif not last and time.monotonic() - self._moved_at > self._watch.stall_s:
            raise ToolError(Fault.STALLED, f"not a byte came for {self._watch.stall_s:.0f} s")
