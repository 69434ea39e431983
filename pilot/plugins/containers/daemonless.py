"""What runtimes without a daemon have in common: their containers are the processes that carry a mark."""

from __future__ import annotations

from pilot.plugins.containers import marks
from pilot.plugins.containers.base import Host
from pilot.plugins.containers.digest import of_file


class Daemonless:
    """The part of such a runtime that is neither starting nor diagnosing."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def end(self, name: str) -> None:
        """End every process that carries the mark; namespaces and mounts go with the last of them."""
        marks.kill(self._host.proc, name)

    def ours(self, token: str) -> tuple[str, ...]:
        """What carries the token."""
        return marks.names_of(self._host.proc, token)

    def pid(self, name: str) -> int | None:
        """Everything descends from the wrapped command."""
        return None

    def digest(self, image: str) -> str:
        """What the image's name, place or header tells."""
        return of_file(image)
