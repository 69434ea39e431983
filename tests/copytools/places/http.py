from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.copytools.places.copy import Directory
from tests.copytools.webserver import serving


@contextmanager
def place(root: Path) -> Iterator[Directory]:
    with serving(root) as server:
        yield Directory(root, server.url)
