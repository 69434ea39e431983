from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pilot.core.staging import ToolSettings
from tests.copytools import fakes
from tests.copytools.places.copy import Directory


@contextmanager
def place(root: Path) -> Iterator[Directory]:
    path = fakes.images(root / "bin", root / "data")
    yield Directory(root / "data", "library://cloud", ToolSettings(environment={"PATH": path}), quoted=False)
