"""Outputs that go away inside archives: the `<ZIP_MAP>` of a job's parameters (protocol.md 2.2) put into effect."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

from pilot.core.errors import Failure, FileHandlingFailure, MissingOutputFile, NoLocalSpace, PilotError
from pilot.core.job import JobDefinition
from pilot.lib.files import is_full, safe_join


def zip_outputs(definition: JobDefinition, directory: Path, say: Callable[[str], None]) -> Failure | None:
    """Make each archive of the job's zip map out of its members; what is wrong with the first that cannot be made.

    Archives are outputs: one that `outFiles` does not name could not be reported and is not made. Members stay where
    they are, so those that are outputs themselves go away by themselves as well. A member that may be missing
    (allowNoOutput) is left out, any other that is missing fails the archive. An archive that is there already was
    made by the payload or by an earlier pilot, whole, and is taken as it is.
    """
    failure: Failure | None = None
    declared = {output.lfn: output for output in definition.outputs}
    optional = {output.lfn for output in definition.outputs if output.optional}
    for name, members in definition.zip_map.items():
        if name not in declared:
            say(f"archive {name} of the zip map is none of the outputs: it is not made")
            continue
        try:
            made = _zip(directory, name, members, optional | (set(members) if name in optional else set()))
        except PilotError as error:
            failure = failure or error.failure()
            continue
        say(f"archive {name} holds {', '.join(made) or 'nothing'}" if made is not None else f"archive {name} is there")
    return failure


def _zip(directory: Path, name: str, members: Sequence[str], optional: set[str]) -> list[str] | None:
    """Write one archive, whole or not at all; the names in it, None for one that was there."""
    target = Path(safe_join(str(directory), name))
    if target.exists():
        return None
    files = {member: Path(safe_join(str(directory), member)) for member in members if member}
    missing = [member for member, path in files.items() if not path.is_file()]
    if lost := [member for member in missing if member not in optional]:
        raise MissingOutputFile(f"{', '.join(lost)}, to be packed into {name}")
    present = {member: path for member, path in files.items() if member not in missing}
    if not present:
        return []
    partial = target.with_name(".zip-output.partial")
    try:
        # Stored, not deflated: what jobs write is compressed already, and a reader can seek in it.
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED, strict_timestamps=False) as archive:
            for member, path in present.items():
                archive.write(path, member)
        os.replace(partial, target)
    except OSError as error:
        partial.unlink(missing_ok=True)
        kind = NoLocalSpace if is_full(error) else FileHandlingFailure
        raise kind(f"{name}: {error.strerror}") from error
    return list(present)
