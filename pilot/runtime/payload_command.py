"""What is executed for a job: from its definition to one line for a shell.

The field runs `<transformation> <jobPars>` in the job's directory through a shell, so quotes, variables and pipes in
`jobPars` mean what they mean there. The payload's exit code is the process's own.
"""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Collection, Sequence
from urllib.parse import unquote, urlsplit

import msgspec

from pilot.core.errors import TransformNotFound
from pilot.core.job import JobDefinition
from pilot.runtime.containment import starts_its_own
from pilot.runtime.steps import has_steps, with_steps
from pilot.runtime.utilities import Utility, with_utilities

#: Words that the shell itself understands: often there is no program of that name that could replace it.
_SHELL_WORDS = re.compile(
    r"\s*(\w+=|[{!.:]\s|\[\[|(if|for|while|until|case|select|time|exec|function|source|cd|export|set|unset|eval|ulimit|"
    r"umask|shopt|declare|typeset|local|alias|pushd|popd|builtin|command|type|trap|wait|exit|return|read|kill|echo|printf|"
    r"test|true|false|pwd|let|mapfile|readarray|hash|enable|jobs)\b(?![-./]))"
)
#: Waits for the running command, then ends with its exit code instead of starting the next one.
_TRAP = "trap 'exit $?' TERM INT HUP; "


class PayloadCommand(msgspec.Struct, frozen=True):
    """`argv` is run in the job's directory after `files` (name -> text) have been written there.

    `line` is what the shell gets, for records and for running the job again by hand.
    """

    argv: tuple[str, ...]
    line: str
    files: dict[str, str] = {}


def payload_command(
    job: JobDefinition,
    present: Collection[str] = (),
    setup: Sequence[str] = (),
    shell: str = "/bin/bash",
    utilities: Sequence[Utility] = (),
) -> PayloadCommand:
    """Build the command. `present` are the names in the job's directory, `setup` lines go before the payload,
    `utilities` around it.

    A transformation that is a URL, or one of `present`, is run from the job's directory. Raises `TransformNotFound`
    when the definition names nothing to run.
    """
    parameters, files = with_input_lists(job.parameters, job.write_to_file)
    body = whole_line(job, parameters, present)
    body = with_steps(job, body) if has_steps(job) else as_process(body)
    body = with_utilities(utilities, body)
    line = "".join(f"{step.rstrip('; ')} || exit $?\n" for step in setup) + body
    return PayloadCommand((shell, "-c", line), line, files)


def whole_line(job: JobDefinition, parameters: str, present: Collection[str] = ()) -> str:
    """The payload's own command line, without set-up.

    In a container it may have one of its own (`containerExec`); a transformation that starts its container by itself is
    told of the image (protocol.md section 10).
    """
    own = str(job.container_options.get("containerExec") or "").strip()
    if starts_its_own(job):
        own = ""
        if job.image:
            parameters = f"{parameters} --containerImage={shlex.quote(job.image)}".strip()
    if own:
        body = own
    elif job.complete_command:
        body = parameters.strip()
    else:
        body = f"{shlex.quote(program(job.transformation, present))} {parameters}".strip() if job.transformation else ""
    if not body:
        raise TransformNotFound(
            "jobPars is empty, expected the whole command (noExecStrCnv is set): write it there"
            if job.complete_command
            else "transformation is missing, expected the program to run: name it in the job description"
        )
    return body


def downloaded_name(transformation: str) -> str:
    """The name of the file that a transformation given as a URL becomes in the job's directory, else empty."""
    parts = urlsplit(transformation)
    if parts.scheme not in ("http", "https"):
        return ""
    name = posixpath.basename(unquote(parts.path).rstrip("/"))
    if not name or name in (".", "..") or "\0" in name:
        raise TransformNotFound(f"transformation: {transformation} names no file, expected a URL that ends with one")
    return name


def program(transformation: str, present: Collection[str] = ()) -> str:
    """The transformation as the shell finds it: absolute, `./name` in the job's directory, or a name on the PATH."""
    transformation = transformation.strip()
    name = downloaded_name(transformation) or (transformation if transformation in present else "")
    return f"./{name}" if name else transformation


def as_process(line: str) -> str:
    """The line such that signals reach the payload and its exit code is kept.

    A single command replaces the shell. Of several, the shell waits for the one that runs when it is told to end.
    """
    return f"{_TRAP}{line}" if _is_compound(line) else f"exec {line}"


def with_input_lists(parameters: str, lists: Sequence[tuple[str, tuple[str, ...]]]) -> tuple[str, dict[str, str]]:
    """Put `writeToFile` into effect: the parameters, and the files to write (protocol.md 2.2).

    `--option=@name` becomes `@name`, and the file starts with `--option`; a bare `@name` stays and the file holds
    the LFNs alone, one a line.
    """
    files: dict[str, str] = {}
    for name, lfns in lists:
        safe = posixpath.basename(name)
        pattern = re.compile(rf"""(?P<quote>["']?)(?P<option>--?[\w-]+)=@{re.escape(name)}(?P=quote)(?=\s|$)""")
        found = pattern.search(parameters)
        head = [found["option"]] if found else []
        parameters = pattern.sub(f"@{safe}", parameters)
        files[safe] = "\n".join([*head, *lfns]) + "\n"
    return parameters, files


def _is_compound(line: str) -> bool:
    """Whether the line is more than one simple command without redirections before it ends; when in doubt, it is."""
    if "\n" in line.strip() or _SHELL_WORDS.match(line):
        return True
    try:
        lexer = shlex.shlex(line, posix=False, punctuation_chars=";&|<>()")
        lexer.whitespace_split = True
        lexer.commenters = ""
        return any(set(token) <= set(";&|()") for token in lexer)
    except ValueError:
        return True
