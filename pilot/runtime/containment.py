"""What a job's container is to be: from its definition, the queue and the experiment's rules. Pure.

An image in the job means a container. Where the job names only a platform, the experiment's rules name the image for
it, and it is used if the queue has a runtime for the pilot's payloads (protocol.md section 10).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Any

import msgspec

from pilot.core.command import Bind, Launcher
from pilot.core.errors import QueueNotSetUpForContainers
from pilot.core.job import JobDefinition
from pilot.core.queue import QueueData

_BIND_OPTIONS = ("-B", "--bind")
#: `arch-os-compiler-kind`, as in `x86_64-el9-gcc13-opt`; shorter forms (`x86_64-el9`) as well.
_PLATFORM = re.compile(r"(x86_64|aarch64|ppc64le|i686)(-\w+){1,3}")
#: Runtimes in whose place an experiment's own launcher may stand.
_LAUNCHED = frozenset({"apptainer", "singularity"})
#: The runtime of queues of this machine's own: whichever of the known ones works here.
ANY_RUNTIME = "any"


class Rules(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """An experiment's rules: section `[container]` of its file.

    `image` is the image of a platform (`{runtime}`, `{platform}`, `{arch}`, `{os}` are put in), `binds` are shown
    read-only, `inside` is where the job's directory is seen, `launcher` starts images by the experiment's script.
    """

    image: str = ""
    binds: tuple[str, ...] = ()
    inside: str = ""
    launcher: Launcher | None = None


class Wanted(msgspec.Struct, frozen=True):
    """The container of one job; `runtime` is empty where the queue names none. `arguments` are the user's own."""

    runtime: str
    image: str
    options: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    binds: tuple[Bind, ...] = ()
    inside: str = ""
    launcher: Launcher | None = None


def rules_of(section: Mapping[str, Any]) -> Rules:
    """The rules as an experiment's file tells them. Raises ValueError naming what is wrong."""
    try:
        return msgspec.convert(dict(section), Rules)
    except msgspec.ValidationError as error:
        raise ValueError(f"container: {error}") from error


def starts_its_own(job: JobDefinition) -> bool:
    """Whether the transform starts a container by itself."""
    return job.transformation.rpartition("/")[2].startswith("runcontainer")


def wanted(job: JobDefinition, queue: QueueData, rules: Rules, workdir: str) -> Wanted | None:
    """The container that the job is to have; None if it is to have none, or starts one by itself.

    A payload that works through event ranges gets one for an image alone, never for a platform.
    """
    if starts_its_own(job):
        return None
    runtime = queue.containers.get("pilot", "")
    on_events = job.event_service and not job.event_merge
    by_platform = "" if on_events else _image_of_platform(job.platform, job.user_platform, runtime, rules)
    image = job.image or by_platform
    if not image:
        return None
    options, binds = read_options(queue.container_options, workdir)
    if "--contain" in options and rules.inside:  # the job's directory is seen under its own name as well
        binds = (*binds, Bind(workdir, writable=True))
    launcher = rules.launcher if runtime in _LAUNCHED else None
    text = str(job.container_options.get("execArgs") or "")
    arguments, more = (_words(text), ()) if launcher else read_options(text, workdir)  # its script knows what to bind
    return Wanted(
        runtime="launcher" if launcher else runtime,
        image=image,
        options=options,
        arguments=arguments,
        binds=(*(Bind(path) for path in rules.binds), *binds, *more),
        inside=rules.inside,
        launcher=launcher,
    )


def _image_of_platform(plain: str, named: str, runtime: str, rules: Rules) -> str:
    """The image for `arch-os-compiler-kind`, or what the user put behind an `@` (`named`).

    That is an image, or another platform: an experiment's launcher knows what to do with either, else a platform
    has an image by the rules.
    """
    if runtime in ("", ANY_RUNTIME):
        return ""
    if named and _PLATFORM.fullmatch(named):
        plain, named = named, ""
    if named or not plain:
        return named
    if rules.launcher is not None and runtime in _LAUNCHED:
        return plain
    arch, _, rest = plain.partition("-")
    parts = {"runtime": runtime, "platform": plain, "arch": arch, "os": rest.partition("-")[0]}
    return rules.image.format_map(parts)


def read_options(text: str, workdir: str) -> tuple[tuple[str, ...], tuple[Bind, ...]]:
    """A queue's options: a runtime's words, or just paths to bind (`/a,/b:/c`), as options and binds.

    `${workdir}` is the job's directory; it is bound anyway and so left out of the binds.
    """
    text = text.replace("${workdir}", workdir).replace("$workdir", workdir).strip()
    if text.startswith("/"):
        return (), _binds(text, workdir)
    options: list[str] = []
    binds: list[Bind] = []
    words = iter(_words(text))
    for word in words:
        name, equals, value = word.partition("=")
        if name in _BIND_OPTIONS:
            binds += _binds(value if equals else next(words, ""), workdir)
        else:
            options.append(word)
    return tuple(options), tuple(binds)


def _words(text: str) -> tuple[str, ...]:
    """Raises `QueueNotSetUpForContainers` for options with a quote that never ends."""
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise QueueNotSetUpForContainers(f"container options {text!r}: {error}") from error


def _binds(text: str, workdir: str) -> tuple[Bind, ...]:
    """Binds as apptainer writes them: `source[:target[:ro]]`, writable unless told."""
    found = []
    for piece in filter(None, (part.strip() for part in text.split(","))):
        source, _, rest = piece.partition(":")
        target, _, mode = rest.partition(":")
        if source != workdir:
            found.append(Bind(source, "" if target == source else target, writable=mode != "ro"))
    return tuple(found)
