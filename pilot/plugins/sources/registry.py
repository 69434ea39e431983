"""The sources by name."""

from pilot.lib.registry import Registry
from pilot.plugins.sources.base import Source

SOURCES: Registry[Source] = Registry(
    "pilot.sources",
    {
        "panda": "pilot.plugins.sources.panda:PandaSource",
        "harvester": "pilot.plugins.sources.harvester:HarvesterSource",
        "local": "pilot.plugins.sources.local:LocalSource",
        "dummy": "pilot.plugins.sources.dummy:DummySource",
    },
)
