"""Making directories and removing files, here or on storages; nothing that must not go is ever removed."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence

import msgspec

from pilot.core.errors import Failure, PilotError
from pilot.core.transfer import Direction, Endpoint
from pilot.lib.cancel import Cancel
from pilot.lib.files import local_path
from pilot.plugins.copytools.base import Fault, ToolError
from pilot.staging.faults import failure_of
from pilot.staging.request import Target
from pilot.staging.toolbox import NO_SITES, Toolbox


class Deed(msgspec.Struct, frozen=True, omit_defaults=True):
    """What came of one target. `files` and `bytes` are what went (or, in a dry run, would go), as far as known."""

    kind: str
    url: str
    seconds: float = 0.0
    files: int = 0
    bytes: int = 0
    failure: Failure | None = None


def make_directories(targets: Sequence[Target], toolbox: Toolbox, cancel: Cancel) -> Iterator[Deed]:
    """Make each directory once, with those above it."""
    for target in dict.fromkeys(targets):
        yield _deed("mkdir", target, toolbox, cancel)


def remove(targets: Sequence[Target], toolbox: Toolbox, cancel: Cancel, dry_run: bool = False) -> Iterator[Deed]:
    """Remove each target; what is not there counts as removed. The caller has asked `refuse` about all of them."""
    for target in dict.fromkeys(targets):
        files, size = _weigh(target)
        if dry_run:
            yield Deed("remove", target.url, files=files, bytes=size)
            continue
        deed = _deed("remove", target, toolbox, cancel)
        yield deed if deed.failure else msgspec.structs.replace(deed, files=files, bytes=size)


def _deed(kind: str, target: Target, toolbox: Toolbox, cancel: Cancel) -> Deed:
    begin = time.perf_counter()
    failure: Failure | None = None
    local = local_path(target.url)
    sites = NO_SITES
    try:
        if cancel.is_set():
            raise ToolError(Fault.CANCELLED)
        place = Endpoint(target.url, site=target.site_label)
        name, sites = toolbox.chosen(Endpoint("/"), place)
        tool = toolbox.tool(name, sites)
        url = os.path.normpath(local) if local else target.url
        if kind == "mkdir":
            tool.make_directory(url)
        elif local and not target.recursive and os.path.isdir(url) and not os.path.islink(url):
            raise ToolError(
                Fault.REFUSED, f"{url} is a directory: only with `recursive` (-r) does it go, with all that is in it"
            )
        else:
            tool.remove(url, target.recursive)
    except ToolError as wrong:
        error = wrong if local else toolbox.explained(wrong, sites)
        failure = _told(kind, error, failure_of(error.fault, error.detail, Direction.OTHER, local is not None))
    except PilotError as error:
        failure = error.failure()
    return Deed(kind, target.url, time.perf_counter() - begin, failure=failure)


def _told(kind: str, error: ToolError, failure: Failure) -> Failure:
    """The failure in the words of what was asked for: here nothing was staged in or out."""
    made_of_words = ("StageIn", "StageOut") if kind == "mkdir" else ("StageIn", "StageOut", "MakeDirectory")
    if not failure.name.startswith(made_of_words):
        return failure
    what = "not made" if kind == "mkdir" else "not removed"
    return msgspec.structs.replace(failure, message=f"{what}: {error.detail or error.fault}")


def _weigh(target: Target) -> tuple[int, int]:
    """Files and bytes of a local target; a link is one file, however it is written."""
    path = local_path(target.url)
    if path is None:
        return 0, 0
    path = os.path.normpath(path)
    try:
        found = os.lstat(path)
    except OSError:
        return 0, 0
    if not os.path.isdir(path) or os.path.islink(path):
        return 1, found.st_size
    files = size = 0
    for root, _, names in os.walk(path):
        for name in names:
            try:
                size += os.lstat(os.path.join(root, name)).st_size
                files += 1
            except OSError:
                continue
    return files, size
