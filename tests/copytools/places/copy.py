from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from pilot.core.staging import ToolSettings


class Directory:
    """Files below a directory, reached by URLs that begin with `prefix`."""

    def __init__(self, root: Path, prefix: str = "", settings: ToolSettings | None = None, quoted: bool = True) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self.root = root
        self.prefix = prefix
        self.quoted = quoted
        self.settings = settings or ToolSettings()

    def url(self, name: str) -> str:
        if not self.prefix:
            return str(self.root / name)
        return f"{self.prefix}/{quote(name) if self.quoted else name}"

    def store(self, name: str, data: bytes) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def read(self, name: str) -> bytes | None:
        path = self.root / name
        return path.read_bytes() if path.is_file() else None

    def below(self, name: str) -> Directory:
        """A place of its own for one test."""
        return type(self)(self.root / name, f"{self.prefix}/{name}" if self.prefix else "", self.settings, self.quoted)


@contextmanager
def place(root: Path) -> Iterator[Directory]:
    yield Directory(root)
