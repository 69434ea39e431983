"""The keys of object stores that the job server keeps, for the copy tools that need them and for nobody else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pilot.core.job import JobDefinition
from pilot.core.settings import Settings
from pilot.core.storage import StagingSite
from pilot.lib.keyring import KeyRing
from pilot.lib.redact import Redactor


def key_ring(settings: Settings, redactor: Redactor, panda: Callable[[], Any]) -> KeyRing | None:
    """Gets keys from the job server; `panda` makes the settings to reach it. None where there is no server."""
    if not settings.url or settings.source not in ("panda", "harvester"):
        return None

    def fetch(public: str, private: str) -> tuple[str, str]:
        from pilot.plugins.sources.panda_credentials import PandaCredentials

        server = PandaCredentials(panda())
        try:
            return server.key_pair(public, private)
        finally:
            server.close()

    return KeyRing(fetch, redactor.add)


def learning(
    ring: KeyRing | None, site_for: Callable[[JobDefinition], StagingSite]
) -> Callable[[JobDefinition], StagingSite]:
    """The same sites; the ring gets to know the storages of each job."""
    if ring is None:
        return site_for

    def site(definition: JobDefinition) -> StagingSite:
        found = site_for(definition)
        ring.know(found.storages)
        return found

    return site
