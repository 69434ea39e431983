"""The container runtimes by name."""

from __future__ import annotations

from pilot.lib.registry import Registry
from pilot.plugins.containers.base import Container

CONTAINERS: Registry[Container] = Registry(
    "pilot.containers",
    {
        "none": "pilot.plugins.containers.none:NoContainer",
        "bubblewrap": "pilot.plugins.containers.bubblewrap:Bubblewrap",
        "sif": "pilot.plugins.containers.sif:Sif",
        "dummy": "pilot.plugins.containers.dummy:DummyContainer",
    },
)
