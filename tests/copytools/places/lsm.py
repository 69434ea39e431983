from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pilot.core.staging import ToolSettings
from tests.copytools import fakes
from tests.copytools.places.copy import Directory


@contextmanager
def place(root: Path) -> Iterator[Directory]:
    path = fakes.lsm(root / "bin", root / "data")
    (root / "set up.sh").write_text("LSM_IS_SET_UP=yes\n")
    settings = ToolSettings(environment={"PATH": path}, options={"lsm": {"setup": str(root / "set up.sh")}})
    yield Directory(root / "data", "srm://host/", settings, quoted=False)
