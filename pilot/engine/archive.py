"""The log archive of a job: one gzip tar of what is left in its directory, made in one pass."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from pilot.core.errors import LogFileCreationFailure, NoLocalSpace

#: Larger files are left out of the archive and named in it instead.
MAX_FILE_BYTES = 256 * 1024 * 1024


def make_log_archive(
    directory: Path, target: Path, *, without: Iterable[str], folder: str, largest: int = MAX_FILE_BYTES
) -> int:
    """Write `target` with everything in `directory` but the names in `without`, under `folder/`.

    Files of more than `largest` bytes are left out, and named in the archive. `without` are paths relative to
    `directory` (inputs, outputs). Links are followed nowhere and devices left out.
    Returns the size in bytes. Raises `NoLocalSpace` or `LogFileCreationFailure`, and leaves no partial archive.
    """
    skip = {Path(name).as_posix() for name in without} | {target.name}
    partial = target.with_name(".log-archive.partial")  # the final name may use up all that a name can have
    try:
        with tarfile.open(partial, "w:gz", compresslevel=1, format=tarfile.PAX_FORMAT) as archive:
            left_out = []
            for path, name in _members(directory, skip):
                if path.lstat().st_size > largest:
                    left_out.append(f"{path.lstat().st_size} {name}\n")
                    continue
                try:
                    archive.add(path, f"{folder}/{name}", recursive=False)
                except FileNotFoundError:
                    continue  # the file went away while the archive was made
            if left_out:
                _add_text(archive, f"{folder}/LEFT_OUT.txt", "".join(left_out))
        os.replace(partial, target)
    except OSError as error:
        partial.unlink(missing_ok=True)
        kind = NoLocalSpace if error.errno == 28 else LogFileCreationFailure
        raise kind(f"{target.name}: {error.strerror or error}") from error
    return target.stat().st_size


def _members(directory: Path, skip: set[str]) -> Iterator[tuple[Path, str]]:
    for root, folders, files in os.walk(directory):
        here = Path(root).relative_to(directory)
        folders[:] = [f for f in folders if not (Path(root) / f).is_symlink()]
        for name in sorted(files):
            path, relative = Path(root) / name, (here / name).as_posix()
            if (
                relative not in skip
                and not name.endswith((".partial", ".part"))
                and (path.is_file() or path.is_symlink())
            ):
                yield path, relative


def _add_text(archive: tarfile.TarFile, name: str, text: str) -> None:
    import io

    data = text.encode()
    info = tarfile.TarInfo(name)
    info.size = len(data)
    archive.addfile(info, io.BytesIO(data))
