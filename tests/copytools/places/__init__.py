"""Recipes of the contract suite: for each copy tool a place that it can reach, in the module of the tool's name."""

from __future__ import annotations

import importlib
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from pilot.core.staging import ToolSettings


class Place(Protocol):
    """A storage that a tool reaches by URL and the test by other means."""

    settings: ToolSettings

    def url(self, name: str) -> str: ...
    def store(self, name: str, data: bytes) -> None: ...
    def read(self, name: str) -> bytes | None: ...
    def below(self, name: str) -> Place: ...


def place_for(tool: str, root: Path) -> AbstractContextManager[Place]:
    """The place of a tool's recipe, with its files below `root`."""
    found: AbstractContextManager[Place] = importlib.import_module(f"tests.copytools.places.{tool}").place(root)
    return found


def recipe_exists(tool: str) -> bool:
    return importlib.util.find_spec(f"tests.copytools.places.{tool}") is not None
