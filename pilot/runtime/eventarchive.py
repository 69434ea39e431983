"""Archives of range outputs: tar files that grow output by output, summed up while they are written."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

from pilot.lib.checksum import new_digest

_STEP = 1 << 20


class _Summed:
    """A file that only grows, with the adler32 of what was written to it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.sum = new_digest("adler32")
        self.size = 0

    def write(self, data: bytes) -> int:
        self._file.write(data)
        self.sum.update(data)
        self.size += len(data)
        return len(data)

    def tell(self) -> int:
        return self.size


class ArchiveWriter:
    """One archive under `path`, not compressed. What is under that name is not whole before `close`.

    With `root` nothing is taken that lies outside of that directory, whatever way leads to it.

    Not for several threads at once. Errors: `OSError` of the archive's own file; then `abort` is all that is left.
    """

    def __init__(self, path: Path, root: Path | None = None) -> None:
        self.path = path
        self._root = os.path.realpath(root) + os.sep if root is not None else ""
        self._names: set[str] = set()
        self._file = open(path, "wb", buffering=_STEP)  # noqa: SIM115 - lives as long as the archive
        self._summed = _Summed(self._file)
        stream: Any = self._summed
        self._tar = tarfile.TarFile(str(path), "w", fileobj=stream, format=tarfile.PAX_FORMAT, copybufsize=_STEP)

    @property
    def size(self) -> int:
        """Bytes written so far."""
        return self._summed.size

    def add(self, outputs: Sequence[tuple[int, str, str]]) -> tuple[list[int], dict[int, str]]:
        """Append outputs (number, range id, path): the numbers that are in, and why others could not be read.

        A member has the output's own name; of two with one name the second gets its range's id behind a dot.
        """
        good: list[int] = []
        bad: dict[int, str] = {}
        for n, id, path in outputs:
            try:
                source = self._opened(path)
            except (OSError, ValueError) as error:
                name = path if path.isprintable() else repr(path)
                bad[n] = f"its output {name:.500} cannot be read: {getattr(error, 'strerror', None) or error}"
                continue
            with source:
                info = self._tar.gettarinfo(arcname=os.path.basename(path), fileobj=source)
                if not info.isreg() or not info.size:
                    bad[n] = f"its output {path} is {'empty' if info.isreg() else 'not a file'}"
                    continue
                info.name = self._name(path, id)
                self._tar.addfile(info, source)
            good.append(n)
        return good, bad

    def _opened(self, path: str) -> BinaryIO:
        """The output, open. A pipe, which nobody may write to, is not waited for."""
        if not (os.path.realpath(path) + os.sep).startswith(self._root):
            raise ValueError("it lies outside of the job's directory")
        return open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK))

    def close(self) -> tuple[int, str]:
        """Finish the file and bring it to the disk: its size in bytes and its adler32."""
        self._tar.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        return self._summed.size, self._summed.sum.hexdigest()

    def abort(self) -> None:
        """Remove what was written; never raises."""
        try:
            self._file.close()
        except OSError:
            pass  # a full disk is told of by `add` and `close`; here the file goes anyway
        self.path.unlink(missing_ok=True)

    def _name(self, path: str, id: str) -> str:
        name = os.path.basename(path)
        if name in self._names:
            name = f"{name}.{id}"
        self._names.add(name)
        return name
