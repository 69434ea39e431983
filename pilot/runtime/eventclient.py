"""Giving a payload the package `pilot.events`, and nothing else of the pilot."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

FOLDER = "client"


def install(directory: Path) -> Path:
    """Write the client below `directory` and return what belongs on the payload's PYTHONPATH. Raises `OSError`.

    It is a copy: inside a container the pilot's own installation is not to be seen.
    """
    place = directory / FOLDER
    package = place / "pilot" / "events"
    package.mkdir(parents=True, exist_ok=True)
    (place / "pilot" / "__init__.py").write_text('"""The part of the pilot that its payloads use."""\n')
    for item in files("pilot.events").iterdir():
        if item.name.endswith(".py"):
            (package / item.name).write_text(item.read_text(encoding="utf-8"), encoding="utf-8")
    return place
