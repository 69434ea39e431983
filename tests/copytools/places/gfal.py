from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pilot.core.staging import ToolSettings
from tests.copytools import fakes
from tests.copytools.places.copy import Directory


@contextmanager
def place(root: Path) -> Iterator[Directory]:
    words = {"PATH": os.environ["PATH"], "PYTHONPATH": fakes.gfal_module(root / "lib", root / "data")}
    settings = ToolSettings(environment=words, options={"gfal": {"how": "bindings"}})
    base = Directory(root / "data", "gsiftp://host/", settings, quoted=False)
    yield base
