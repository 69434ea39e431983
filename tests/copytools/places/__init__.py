"""Recipes of the contract suite: for each copy tool a place that it can reach, in the module of the tool's name.

A tool without one is taken to reach the files of this machine, as `myscheme:///path`.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from pilot.core.staging import ToolSettings
from pilot.plugins.copytools.registry import abilities
from tests.copytools.places.copy import Directory


class Place(Protocol):
    """A storage that a tool reaches by URL and the test by other means."""

    settings: ToolSettings

    def url(self, name: str) -> str: ...
    def store(self, name: str, data: bytes) -> None: ...
    def read(self, name: str) -> bytes | None: ...
    def below(self, name: str) -> Place: ...


def place_for(tool: str, root: Path) -> AbstractContextManager[Place]:
    """The place of a tool's recipe, with its files below `root`; without one, paths are those of this machine."""
    if importlib.util.find_spec(f"tests.copytools.places.{tool}") is None:
        return _local(tool, root)
    found: AbstractContextManager[Place] = importlib.import_module(f"tests.copytools.places.{tool}").place(root)
    return found


@contextmanager
def _local(tool: str, root: Path) -> Iterator[Place]:
    schemes = sorted(abilities()[tool])
    yield Directory(root, "" if {"file", "*"} & {*schemes} or not schemes else f"{schemes[0]}://{root}")
