"""What a server orders in its answer to an update (protocol.md 1.5), and which of it may be run on the node."""

from __future__ import annotations

import re
import shlex
from pathlib import PurePosixPath

from pilot.core.errors import RequestRefused
from pilot.core.update import Command

#: Words that are orders by themselves and may stand in a comma-separated list.
WORDS = frozenset({"tobekilled", "softkill", "debug", "debugoff", "nocleanup", "alreadydone", "badattemptnr"})
#: Programs that an operator may run in a job's directory: they only look.
PROGRAMS = frozenset({"tail", "ls", "ps", "gdb", "du"})
LONGEST = 250
_FORBIDDEN = re.compile(r"[;|&<>`$(){}\n\r\0]")
_OPTIONS = {
    "tail": re.compile(r"-(n\d*|c\d*|\d+|q|v|-lines=\d+|-bytes=\d+)|\+?\d+[kKMG]?"),
    "ls": re.compile(r"-[a-zA-Z1]+|--(all|recursive|human-readable|size|inode|full-time)"),
    "du": re.compile(r"-[a-zA-Z]+\d*|--(summarize|human-readable|all|bytes|max-depth=\d+)"),
    "ps": re.compile(r"-?[a-zA-Z]+|[a-z,%=]+|\d+|--(forest|no-headers)"),
}
_GDB = re.compile(r"(?:--?pid|-p)[ =](%|\d+)((?:\s+-ex\s+(?:'[^']*'|\"[^\"]*\"))*)\s*")
_GDB_COMMANDS = re.compile(r"(generate-core-file( core\.?\w*)?|bt( full)?|thread apply all bt( full)?|info threads)")


def parse_commands(text: str | None) -> tuple[Command, ...]:
    """The orders in an answer's `command`: a comma-separated list of words, one of which may be a free command.

    A kill is found on either side of a free command, which itself may hold commas.
    """
    rest = (text or "").strip()
    if rest.lower() in ("", "null", "none"):
        return ()
    found, behind = [], []
    while True:
        head, comma, after = rest.partition(",")
        if not comma or head.strip().lower() not in WORDS:
            break
        found.append(Command(head.strip().lower()))
        rest = after.strip()
    while "," in rest and rest.rpartition(",")[2].strip().lower() in WORDS:
        rest, _, word = rest.rpartition(",")
        behind.append(Command(word.strip().lower()))
    word, _, argument = rest.strip().partition(" ")
    if word:
        found.append(Command(word.lower(), argument.strip()))
    return (*found, *reversed(behind))


def debug_argv(command: Command, payload_pid: int | None = None) -> list[str]:
    """The program and its arguments for an operator's free command, to be run in the job's directory, without a shell.

    Only names inside that directory are let through. Raises `RequestRefused` with the reason otherwise.
    """
    if command.word not in PROGRAMS:
        raise RequestRefused(f"{command.word!r} is not among {', '.join(sorted(PROGRAMS))}")
    if len(command.argument) > LONGEST or _FORBIDDEN.search(command.argument):
        raise RequestRefused(f"{command.word}: too long, or with characters that a shell would act on")
    if command.word == "gdb":
        return _gdb(command.argument, payload_pid)
    try:
        words = shlex.split(command.argument)
    except ValueError as error:
        raise RequestRefused(f"{command.word}: {error}") from error
    for word in words:
        if not _OPTIONS[command.word].fullmatch(word) and (command.word == "ps" or not _inside(word)):
            raise RequestRefused(f"{command.word}: {word!r} is neither a known option nor inside the job's directory")
    return [command.word, *words]


def _inside(word: str) -> bool:
    path = PurePosixPath(word)
    return not word.startswith("-") and not path.is_absolute() and ".." not in path.parts


def _gdb(argument: str, payload_pid: int | None) -> list[str]:
    """gdb looks at the payload's own process and runs commands that only show or dump."""
    found = _GDB.fullmatch(argument.strip() + " ")
    if found is None:
        raise RequestRefused("gdb: only `--pid %` and -ex commands are allowed")
    if payload_pid is None or found[1] not in ("%", str(payload_pid)):
        raise RequestRefused("gdb: only the payload may be looked at, and only while it runs")
    commands = [word for word in shlex.split(found[2]) if word != "-ex"]
    for text in commands:
        if not _GDB_COMMANDS.fullmatch(text):
            raise RequestRefused(f"gdb: {text!r} does more than show or dump")
    expressions = [word for text in commands or ["generate-core-file"] for word in ("-ex", text)]
    return ["gdb", "--batch", "--nx", "--pid", str(payload_pid), *expressions]
