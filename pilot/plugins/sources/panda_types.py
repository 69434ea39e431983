"""The resource types of a PanDA server (protocol.md 1.9), got when the first job of an unknown type comes."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from typing import Any

from pilot.core.errors import PilotError
from pilot.core.resources import ResourceType, read_types
from pilot.plugins.sources.panda_server import PandaServer

_log = logging.getLogger("pilot.panda")
#: A type that the server does not tell is asked for again after this time.
_AGAIN_S = 600.0


class PandaTypes:
    """Lives in the thread that asks for jobs. A server that does not tell its types costs one line in the log."""

    def __init__(self, server: PandaServer) -> None:
        self._server = server
        self._known: dict[str, ResourceType] = {}
        self._asked: float | None = None

    def for_jobs(self, jobs: Iterable[Mapping[str, Any]]) -> dict[str, ResourceType]:
        """All types that are known now that these jobs have come."""
        named = {str(job.get("resource_type") or "") for job in jobs} - {"", "NULL", "None"}
        due = self._asked is None or time.monotonic() - self._asked > _AGAIN_S
        if named - self._known.keys() and due:
            self._asked = time.monotonic()
            try:
                self._known |= self.fetch()
            except PilotError as error:
                _log.warning("the server's resource types are not known, the usual ones hold: %s", error)
        return dict(self._known)

    def fetch(self) -> dict[str, ResourceType]:
        """The server's resource types by name. Raises `PilotError`."""
        dialect = self._server.dialect
        return read_types(dialect.read_resource_types(self._server.call(dialect.resource_types())))
