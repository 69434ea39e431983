"""Commands that run before, beside and after a payload, in its environment: monitors, set-up, tidying. Pure.

They become part of the payload's script, so that they run where it runs: in its container, in its cgroup, watched and
ended with it. Whatever becomes of them, the job's outcome is the payload's.
"""

from __future__ import annotations

import enum
import re
import shlex
from collections.abc import Sequence

from pilot.core.job import JobDefinition
from pilot.core.queue import QueueData
from pilot.runtime.chosen import Jobs

#: In the job's directory: what utilities say (`<name>.stdout`, `<name>.stderr`), and how they ended.
FOLDER = "utilities"
NOTES = f"{FOLDER}/.ended"

_HEAD = f"""\
mkdir -p {FOLDER}
pilot_utility() {{ # NAME LIMIT LINE: runs the line, with a time limit where there is a program for that
  pilot_limit=; command -v timeout >/dev/null 2>&1 && pilot_limit="timeout -k 5 $2"
  PILOT_UTILITY="$1" $pilot_limit "${{BASH:-/bin/sh}}" -c "$3" </dev/null >>"{FOLDER}/$1.stdout" 2>>"{FOLDER}/$1.stderr"
  echo "$1 $?" >>{NOTES}
}}
"""


class When(enum.StrEnum):
    """At what moment: outside of any container for the first, where the payload runs for the others."""

    BEFORE_STAGE_IN = "before-stagein"
    BEFORE = "before"
    WITH = "with"
    AFTER = "after"


class Utility(Jobs, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """A section `[utilities.NAME]`. `command` is for a shell. One that runs beside the payload is ended with it, the
    others after `limit_s`."""

    command: str
    when: When = When.WITH
    limit_s: int = 300
    name: str = ""

    def __post_init__(self) -> None:
        if self.name and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", self.name):
            raise ValueError(f"{self.name!r} cannot be the name of a utility: letters, digits, '_', '.' and '-' can")


def chosen(utilities: Sequence[Utility], job: JobDefinition, queue: QueueData) -> tuple[Utility, ...]:
    """Those that are for this job, in their order."""
    return tuple(utility for utility in utilities if utility.fit(job, queue))


def with_utilities(utilities: Sequence[Utility], payload_line: str) -> str:
    """The script that runs the payload's lines and, around them, those utilities that run where it runs."""
    before, beside, after = (
        [utility for utility in utilities if utility.when is when] for when in (When.BEFORE, When.WITH, When.AFTER)
    )
    if not (before or beside or after):
        return payload_line
    head = ["trap 'exit ${pilot_whole:-$?}' TERM INT HUP\n", _HEAD, *([_BESIDE] if beside else []), *map(_one, before)]
    lines = [*head, "export PILOT_PAYLOAD_PID=$$\n", *(f"pilot_beside {_words(one)}\n" for one in beside)]
    lines += [f"( {payload_line}\n); pilot_whole=$?\n"]
    lines += ["for pilot_one in $pilot_besides; do pilot_end $pilot_one; done\n"] if beside else []
    lines += ["export PILOT_PAYLOAD_EXIT=$pilot_whole\n", *map(_one, after), "exit $pilot_whole\n"]
    return "".join(lines)


#: One beside the payload is ended with all that it has started, parents first; what does not hear that is killed.
_BESIDE = f"""\
pilot_beside() {{ # NAME LINE
  ( PILOT_UTILITY="$1" exec "${{BASH:-/bin/sh}}" -c "$2" ) </dev/null >>"{FOLDER}/$1.stdout" 2>>"{FOLDER}/$1.stderr" &
  pilot_besides="$pilot_besides $1:$!"
}}
pilot_kin() {{ # PID
  local pilot_child
  for pilot_child in $(cat /proc/$1/task/*/children 2>/dev/null); do echo $pilot_child; pilot_kin $pilot_child; done
}}
pilot_end() {{ # NAME:PID
  pilot_pid=${{1##*:}}; pilot_all="$pilot_pid $(pilot_kin $pilot_pid)"; pilot_turn=0
  kill $pilot_all 2>/dev/null
  while grep -q '^State:[[:space:]]*[^Z[:space:]]' /proc/$pilot_pid/status 2>/dev/null && [ $pilot_turn -lt 250 ]
  do sleep 0.02; pilot_turn=$((pilot_turn + 1)); done
  kill -9 $pilot_all 2>/dev/null
  wait $pilot_pid 2>/dev/null; echo "${{1%:*}} $?" >>{NOTES}
}}
"""


def _one(utility: Utility) -> str:
    return f"pilot_utility {utility.name} {utility.limit_s} {shlex.quote(utility.command)}\n"


def _words(utility: Utility) -> str:
    return f"{utility.name} {shlex.quote(utility.command)}"


def read_notes(text: str) -> list[tuple[str, int]]:
    """How utilities ended, in order, as name and exit code; lines that are none are passed over."""
    pairs = (line.rpartition(" ") for line in text.splitlines())
    return [(name, int(code)) for name, _, code in pairs if name and code.isdigit()]
