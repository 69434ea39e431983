"""Plugins by name: a room's table of lazy `"module:Class"` names, which other distributions may extend."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Generic, TypeVar

T = TypeVar("T")


class UnknownPlugin(LookupError):
    """A plugin was asked for by a name that nobody registered."""


class Registry(Generic[T]):
    """The plugins of one room. Nothing is imported before it is asked for.

    `group` is the entry point group (`pilot.copytools`, ...) in which other distributions name theirs.
    """

    def __init__(self, group: str, table: Mapping[str, str]) -> None:
        self.group = group
        self._table = dict(table)

    def names(self) -> list[str]:
        """All names, the room's own first, then those of installed distributions."""
        return [*self._table, *(n for n in self._foreign() if n not in self._table)]

    def load(self, name: str) -> type[T]:
        """The plugin's class. Raises `UnknownPlugin`, which names the nearest known one."""
        place = self._table.get(name) or self._foreign().get(name)
        if place is None:
            import difflib

            near = difflib.get_close_matches(name, self.names(), 1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(self.names())}"
            raise UnknownPlugin(f"{self.group} has no {name!r}{hint}")
        module, _, attribute = place.partition(":")
        found: type[T] = getattr(importlib.import_module(module), attribute)
        return found

    def _foreign(self) -> dict[str, str]:
        from importlib.metadata import entry_points

        return {point.name: point.value for point in entry_points(group=self.group)}
