from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pilot.core.staging import ToolSettings
from tests.copytools import fakes
from tests.copytools.places.copy import Directory


@contextmanager
def place(root: Path) -> Iterator[Directory]:
    path = fakes.xrootd(root / "bin", root / "data")
    settings = ToolSettings(environment={"PATH": path}, options={"xrootd": {"how": "xrdcp"}})
    yield Directory(root / "data", "root://host:1094/", settings, quoted=False)
