from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pilot.core.staging import ToolSettings
from tests.copytools import fakes
from tests.copytools.places.copy import Directory


class Catalogue(Directory):
    """Names below a scope."""

    def below(self, name: str) -> Directory:
        return type(self)(self.root / name, f"{self.prefix}{name}/", self.settings, self.quoted)

    def url(self, name: str) -> str:
        return self.prefix + super().url(name).removeprefix(self.prefix + "/")


@contextmanager
def place(root: Path) -> Iterator[Directory]:
    words = {"PATH": os.environ["PATH"], "PYTHONPATH": fakes.rucio_clients(root / "lib", root / "data")}
    yield Catalogue(root / "data", "rucio://A/test:", ToolSettings(environment=words))
