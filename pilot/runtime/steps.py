"""What runs around a payload: preprocess, coprocess and postprocess, once or in a loop (hyper-parameter points). Pure.

The steps become one shell script, so that the job stays one process for monitor, container and recovery. Each step
notes its exit code in a file of the job's directory; the script ends with the payload's exit code.
"""

from __future__ import annotations

import shlex

import msgspec

from pilot.core.errors import Failure, PostprocessFailure, PreprocessFailure
from pilot.core.job import JobDefinition, Step

#: Where the steps note how they ended: a line `<step> <exit code>` each.
NOTES = ".pilot-steps"
#: Exit codes of a preprocess in a loop: no point was left at the first turn; one or more are done; enough turns.
NO_POINTS, ALL_DONE, LOOP_LIMIT = 160, 161, 162
_LONGEST_LOOP = 1000

#: Told to end, the script waits for what runs, which is told as well, and starts nothing more.
_TRAP = "trap 'exit ${pilot_payload:-$?}' TERM INT HUP\n"
_NOTED = """\
pilot_noted() { # NAME LINE: runs the line, its output in files of that name, and notes its exit code
  ( eval "$2" ) >>"$1.stdout" 2>>"$1.stderr"; pilot_code=$?
  echo "$1 $pilot_code" >>{notes}; return $pilot_code
}
"""


class Noted(msgspec.Struct, frozen=True):
    """How one step ended."""

    name: str
    code: int


def has_steps(job: JobDefinition) -> bool:
    """Whether anything runs around the payload."""
    return any((job.preprocess, job.coprocess, job.postprocess))


def with_steps(job: JobDefinition, payload_line: str) -> str:
    """The script that runs the payload's line and the steps around it (protocol.md sections 2.2 and 10)."""
    before = _step("preprocess", job.preprocess)
    after = _step("postprocess", job.postprocess)
    beside = ""
    if job.coprocess is not None:
        beside = (
            f"( eval {shlex.quote(_line(job.coprocess))} ) >>coprocess.stdout 2>>coprocess.stderr & pilot_beside=$!\n"
        )
    run = f'( {payload_line}\n); pilot_payload=$?\necho "payload $pilot_payload" >>{NOTES}\n' + (
        "kill $pilot_beside 2>/dev/null; wait $pilot_beside 2>/dev/null\n" if beside else ""
    )
    turn = f"{before}{beside}{run}{after}"
    head = f"{_TRAP}rm -f {NOTES}\n" + _NOTED.replace("{notes}", NOTES)
    if not job.hpo:
        return f"{head}{turn}exit $pilot_payload\n"
    return (
        f"{head}"
        f"for PILOT_EXEC_ITERATION_COUNT in $(seq 0 {_LONGEST_LOOP - 1}); do export PILOT_EXEC_ITERATION_COUNT\n"
        f"{turn}[ $pilot_payload -eq 0 ] || break\n"
        "done\nexit $pilot_payload\n"
    )


def _step(name: str, step: Step | None) -> str:
    """One step: its failure ends the script with its own code, before the payload; after it, with the payload's."""
    if step is None:
        return ""
    end = 'exit "${pilot_payload:-1}"'
    if name == "preprocess":
        end = '{ pilot_code=$?; [ -n "${pilot_payload-}" ] && exit $pilot_payload; exit $pilot_code; }'
    return f"pilot_noted {name} {shlex.quote(_line(step))} || {end}\n"


def _line(step: Step) -> str:
    return f"{step.command} {step.args}".strip()


def read_notes(text: str) -> list[Noted]:
    """The notes of the steps, in order; lines that are none are passed over."""
    found = []
    for line in text.splitlines():
        name, _, code = line.partition(" ")
        if code.strip().isdigit():
            found.append(Noted(name, int(code)))
    return found


def payload_code(notes: list[Noted]) -> int | None:
    """The exit code of the payload's last turn; None if it never ran."""
    return next((note.code for note in reversed(notes) if note.name == "payload"), None)


def verdict(job: JobDefinition, notes: list[Noted], words: str = "") -> Failure | None:
    """The failure of a step around the payload; None if there is none. `words` is the end of its error output.

    In a loop a preprocess ends the job well with 161 or 162, and with 160 when a turn was made before.
    """
    last = notes[-1] if notes else None
    if last is None or last.code == 0 or last.name == "payload":
        return None
    if last.name == "preprocess" and job.hpo:
        if last.code in (ALL_DONE, LOOP_LIMIT) or (last.code == NO_POINTS and payload_code(notes) is not None):
            return None
        if last.code == NO_POINTS:
            return PreprocessFailure("there was no hyper-parameter point to work on").failure()
    kind = PreprocessFailure if last.name == "preprocess" else PostprocessFailure
    return kind(f"exit code {last.code}" + (f"; it said: {words}" if words else "")).failure()
