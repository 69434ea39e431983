"""What the server orders in its answers, and what is done about it for one job."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence

import msgspec

from pilot.core.commands import PROGRAMS, debug_argv
from pilot.core.errors import Failure, PandaKill, PilotError
from pilot.core.update import Command
from pilot.engine.means import Run
from pilot.lib.activelog import active_log, tail

#: What an operator's command may cost: seconds of time, bytes of its answer.
_PATIENCE_S, _LONGEST = 30.0, 2048


def kill_of(command: Command) -> Failure | None:
    """Why the job is to be killed, if the command asks for that."""
    if command.word == "tobekilled":
        return PandaKill("the server asked for it").failure()
    if command.word == "badattemptnr":
        return PandaKill("the server knows another attempt of this job").failure()
    return None


def noted(run: Run, command: Command) -> bool:
    """Note what changes how the job is treated; whether the next heartbeat changes with it."""
    before = run.facts
    if command.word in ("debug", "debugoff"):
        run.facts = msgspec.structs.replace(run.facts, debug=command.word == "debug")
    elif command.word == "nocleanup":
        run.facts = msgspec.structs.replace(run.facts, no_cleanup=True)
    if run.facts != before:
        run.log.info(f"the server says {command.word}")
    return run.facts.debug != before.debug


def is_free(command: Command) -> bool:
    """Whether it is an operator's command, to be run in the job's directory."""
    return command.word in PROGRAMS


def carry_out_all(run: Run, commands: Sequence[Command], environment: dict[str, str]) -> str:
    """Run the operator's commands of one answer in order; the outputs of several share the room, each with its name."""
    if len(commands) == 1:
        return carry_out(run, commands[0], environment)
    heads = [f"[{command.word} {command.argument}]\n" for command in commands]
    room = max(80, _LONGEST // len(commands) - max(map(len, heads)))
    said = [carry_out(run, command, environment)[-room:].rstrip() for command in commands]
    return "\n".join(head + words for head, words in zip(heads, said, strict=True))


def carry_out(run: Run, command: Command, environment: dict[str, str]) -> str:
    """Run an operator's command, bounded in time and size, and tell its output or why it was refused.

    Called in a staging thread. A core dump that gdb was asked for ends the payload afterwards.
    """
    child = run.child
    pid = child.pid if child is not None and child.exit is None else None
    try:
        argv = debug_argv(command, pid)
    except PilotError as error:
        return str(error)
    try:
        done = subprocess.run(
            argv,
            cwd=run.directory,
            env={**environment, "LC_ALL": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_PATIENCE_S,
            check=False,
        )
        said = done.stdout.decode(errors="replace")
    except subprocess.TimeoutExpired:
        said = f"{command.word}: no answer within {_PATIENCE_S:.0f} s"
    except OSError as error:
        said = f"{command.word}: {error.strerror}"
    if command.word == "gdb" and "generate-core-file" in " ".join(argv) and child is not None:
        child.kill()
    return said[-_LONGEST:] or f"{command.word}: no output"


def debug_text(run: Run) -> str:
    """In debug mode: the end of the log that the payload is writing to now, with its name."""
    path = active_log(run.directory)
    if path is None:
        return ""
    head = f"[{os.path.relpath(path, run.directory)}]\n"
    return head + tail(path, _LONGEST - len(head.encode()))
