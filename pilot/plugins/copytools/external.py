"""What tools have in common that leave the work to a program of the site."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence

from pilot.core.staging import ToolSettings
from pilot.lib.cancel import Cancel
from pilot.lib.command import Ran, run
from pilot.plugins.copytools.base import Fault, ToolError, Watch

_TICK_S = 0.25


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
