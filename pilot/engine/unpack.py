"""Archives among a job's inputs (`zip://`, protocol.md 4.5): taken apart in its directory after they were fetched."""

from __future__ import annotations

import os
import shutil
import tarfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import msgspec

from pilot.core.errors import FileHandlingFailure, GetAdMismatch, NoLocalSpace, PilotError
from pilot.core.job import JobDefinition
from pilot.core.transfer import Outcome
from pilot.lib.files import is_full, safe_join
from pilot.staging.plan import local_name

_STEP = 1 << 20


def unpack_inputs(definition: JobDefinition, directory: Path, outcomes: Sequence[Outcome]) -> list[Outcome]:
    """The outcomes of stage-in, once the archives among the inputs are taken apart and gone.

    An archive that cannot be read fails like a file with a wrong checksum: the server takes it for corrupted and has
    its events processed again.
    """
    archives = {item.lfn: local_name(item) for item in definition.inputs if item.archive}
    told = []
    for outcome in outcomes:
        name = archives.get(outcome.lfn)
        if name is not None and outcome.failure is None:
            try:
                unpack(directory / name, directory)
            except PilotError as error:
                outcome = msgspec.structs.replace(outcome, failure=error.failure())
        told.append(outcome)
    return told


def unpack(archive: Path, directory: Path) -> list[str]:
    """Take a tar or zip file apart and remove it; the names of what was in it.

    Only plain files come out, and only below `directory`. Raises `GetAdMismatch` for an archive that is broken or
    would write elsewhere, `NoLocalSpace`, `FileHandlingFailure`.
    """
    names: list[str] = []
    try:
        for name, source in _members(archive):
            target = safe_join(str(directory), name)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            with open(target, "wb") as file:
                shutil.copyfileobj(source, file, _STEP)
            names.append(name)
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, ValueError) as error:
        raise GetAdMismatch(f"archive {archive.name} cannot be taken apart: {error}") from error
    except OSError as error:
        if isinstance(error, NotADirectoryError | IsADirectoryError | FileExistsError) or error.errno is None:
            raise GetAdMismatch(f"archive {archive.name} cannot be taken apart: {error}") from error
        kind = NoLocalSpace if is_full(error) else FileHandlingFailure
        raise kind(f"{archive}: {error.strerror}") from error
    except PilotError as error:
        raise GetAdMismatch(f"archive {archive.name} holds a file that is not welcome: {error}") from error
    archive.unlink()
    return names


def _members(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as zipped:
            for info in zipped.infolist():
                if not info.is_dir():
                    with zipped.open(info) as source:
                        yield info.filename, source
        return
    with tarfile.open(archive) as tar:
        for member in tar:
            content = tar.extractfile(member) if member.isreg() else None
            if content is not None:
                with content:
                    yield member.name, content
