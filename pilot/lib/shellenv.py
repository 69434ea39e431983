"""Named environments: what a few lines of shell do to an environment, found out once and kept as a difference."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping

import msgspec

from pilot.core.errors import LsetupTimedOut, SetupFailure

_LIMIT_S = 300.0
#: What a shell sets by itself, and what differs from one shell to the next.
_OF_THE_SHELL = frozenset({"_", "SHLVL", "PWD", "OLDPWD"})
#: The mark keeps what the set-up prints apart from the environment.
_SCRIPT = "{ eval \"$1\"; } >&2 || exit $?\nprintf '\\0\\0'\nexec /usr/bin/env -0"


class Change(msgspec.Struct, frozen=True):
    """What is set, and what is taken out."""

    put: dict[str, str] = {}
    drop: frozenset[str] = frozenset()

    def apply(self, env: Mapping[str, str]) -> dict[str, str]:
        """The environment after the change."""
        return {name: value for name, value in env.items() if name not in self.drop} | self.put


def difference(before: Mapping[str, str], after: Mapping[str, str]) -> Change:
    """What leads from one environment to the other, without what is the shell's own."""
    put = {name: value for name, value in after.items() if before.get(name) != value and name not in _OF_THE_SHELL}
    return Change(put, frozenset(before) - frozenset(after) - _OF_THE_SHELL)


def evaluate(setup: str, env: Mapping[str, str], cwd: str = "/", limit_s: float = _LIMIT_S) -> Change:
    """Run the lines in a shell that has exactly `env`, and tell what they changed.

    Raises `SetupFailure` with what they said when they fail, `LsetupTimedOut` when they take too long.
    """
    try:
        done = subprocess.run(
            ("/bin/bash", "-c", _SCRIPT, "setup", setup),
            env=dict(env),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=limit_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise LsetupTimedOut(f"{limit_s:g} s: {setup.splitlines()[0][:100]}") from error
    said = " ".join(done.stderr.decode(errors="replace").split())[-300:]
    _, mark, told = done.stdout.partition(b"\0\0")
    if done.returncode or not mark:
        raise SetupFailure(f"exit code {done.returncode}" + (f": {said}" if said else ""))
    pairs = (entry.partition(b"=") for entry in told.split(b"\0") if entry)
    after = {name.decode(errors="surrogateescape"): value.decode(errors="surrogateescape") for name, _, value in pairs}
    return difference(env, after)
