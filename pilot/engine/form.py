"""The form of a job description: all that keeps a job from being begun, whatever the node, found before anything is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pilot.core.arrival import identity_of, writable
from pilot.core.definition import parse_all
from pilot.core.errors import ConversionFailure, PilotError
from pilot.core.fields import Slip
from pilot.core.job import InputFile, JobDefinition
from pilot.engine.records import check_input
from pilot.lib.checksum import parse_checksum
from pilot.runtime.containment import read_options
from pilot.runtime.payload_command import payload_command

#: The keys that say what is run.
_COMMAND = ("transformation", "jobPars", "noExecStrCnv", "containerOptions", "writeToFile")

#: The kernel takes no longer argument (32 pages with its end), and the whole command is one for a shell.
_LONGEST = 32 * 4096 - 1


def read(raw: Mapping[str, Any]) -> tuple[JobDefinition, list[Slip]]:
    """The job of a description, and every mistake in that, the one to be reported first.

    With mistakes the job is no more than its identity and its description, as far as that can be written.
    """
    raw, changed = writable(raw)
    wrong = "text that is no Unicode, or values beyond all measure: correct it in the job description"
    slips = [Slip(key, ConversionFailure(f"{key} holds {wrong}")) for key in changed]
    definition = parse_all(raw, slips)
    told = {slip.key for slip in slips}  # what would follow from a mistake in these is none of its own
    if "inFiles" not in told:
        for item in definition.inputs:
            slips += _tried("inFiles", check_input, item)
            slips += _tried("checksum", _check_checksum, item)
    if not told.intersection(_COMMAND):
        slips += _command(definition)
    slips += _nuls(definition)
    slips += _tried("containerOptions", _check_arguments, definition)
    return (identity_of(raw), slips) if slips else (definition, slips)


def _tried(key: str, check: Callable[[Any], None], value: object) -> Iterator[Slip]:
    try:
        check(value)
    except PilotError as error:
        yield Slip(key, error)


def _command(definition: JobDefinition) -> Iterator[Slip]:
    """A job with nothing to run, or with a command that is too long for any program."""
    try:
        size = len(payload_command(definition).line.encode("utf-8", "replace"))
    except PilotError as error:
        yield Slip("jobPars" if definition.complete_command else "transformation", error)
        return
    if size > _LONGEST:
        wrong = f"jobPars makes a command of {size} bytes, expected at most {_LONGEST}"
        yield Slip("jobPars", ConversionFailure(f"{wrong}: give long lists of inputs by writeToFile"))


def _check_checksum(item: InputFile) -> None:
    """Raise `GetAdMismatch`, `GetMd5Mismatch` or `UnknownChecksumType` for the checksum of an input that is none."""
    try:
        parse_checksum(item.checksum)
    except PilotError as error:
        wanted = "expected ad:, md5:, sha1:, sha256: or crc32c: and hexadecimal digits"
        raise type(error)(f"checksum of {item.lfn!r}: {error.detail}, {wanted}: correct it in the list") from error


def _check_arguments(definition: JobDefinition) -> None:
    """Raise `QueueNotSetUpForContainers` for arguments of a container whose quotes do not end."""
    read_options(str(definition.container_options.get("execArgs") or ""), "")


def _nuls(definition: JobDefinition) -> Iterator[Slip]:
    """No program can be started with them."""
    options = definition.container_options
    texts = {
        "transformation": definition.transformation,
        "jobPars": definition.parameters,
        "container_name": definition.image,
        "containerOptions": f"{options.get('containerExec')} {options.get('execArgs')}",
        **{
            key: f"{step.command} {step.args}"
            for key in ("preprocess", "coprocess", "postprocess")
            if (step := getattr(definition, key)) is not None
        },
    }
    for key, text in texts.items():
        if "\0" in text:
            wrong = f"{key} holds a NUL, which no command can have: correct it in the job description"
            yield Slip(key, ConversionFailure(wrong))
