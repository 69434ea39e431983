"""What a pilot tells a PanDA server of itself and its node (protocol.md 1.7)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pilot.plugins.sources.panda_server import PandaServer, Tongue
from pilot.plugins.sources.panda_settings import PandaSettings


class PandaWorker:
    """Calls that no job depends on: a caller notes their errors and goes on. Not for several threads at once."""

    def __init__(self, settings: PandaSettings, tongue: Tongue | None = None) -> None:
        self._server = PandaServer(settings, tongue)

    def started(self) -> bool:
        """Tell that this worker's pilot has started; False when nobody knows the worker's ids."""
        return self._status("started")

    def finished(self) -> bool:
        """Tell that this worker's pilot is about to end."""
        return self._status("finished")

    def _status(self, word: str) -> bool:
        node = self._server.settings.node
        if not node.harvester_id or node.worker_id is None:
            return False
        dialect = self._server.dialect
        dialect.read_done(self._server.call(dialect.worker_status(node, word)))
        return True

    def node(self, facts: dict[str, Any], gpus: Sequence[dict[str, Any]] = ()) -> bool:
        """Tell what kind of node this is; False in the dialect that has no such call (job metadata carries it then)."""
        dialect = self._server.dialect
        calls = [dialect.worker_node(facts), *(dialect.worker_gpu(gpu) for gpu in gpus)]
        for call in calls:
            if call is None:
                return False
            dialect.read_done(self._server.call(call))
        return True

    def close(self) -> None:
        """Let go of the connection."""
        self._server.close()
