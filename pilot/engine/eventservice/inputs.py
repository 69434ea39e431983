"""Where the workers of one job find the inputs of their ranges."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from pilot.core.ranges import EventRange
from pilot.runtime.ledger import Ledger


class Inputs(Protocol):
    """Tells where workers find inputs, and sees to it that they are there."""

    def path(self, item: EventRange) -> str | None:
        """The path of the range's input; None while it is on its way."""

    def prepare(self, ledger: Ledger) -> None:
        """See to it that the inputs of the next ranges will be there."""

    def close(self) -> None:
        """Let go of everything."""


class Present:
    """Inputs that were staged in beforehand, or are read where they are: nothing has to be waited for.

    `paths` maps LFN to the path (or URL) as the payload sees it.
    """

    def __init__(self, paths: Mapping[str, str]) -> None:
        self._paths = paths

    def path(self, item: EventRange) -> str | None:
        """The path of the range's input; None while it is on its way."""
        return self._paths.get(item.lfn) or item.path or item.lfn

    def prepare(self, ledger: Ledger) -> None:
        """They are there."""

    def close(self) -> None:
        """Nothing is held."""
