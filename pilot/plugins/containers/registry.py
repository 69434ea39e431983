"""The container runtimes by name."""

from __future__ import annotations

from pilot.lib.registry import Registry
from pilot.plugins.containers.base import Container

CONTAINERS: Registry[Container] = Registry(
    "pilot.containers",
    {
        "none": "pilot.plugins.containers.none:NoContainer",
        "apptainer": "pilot.plugins.containers.apptainer:Apptainer",
        "singularity": "pilot.plugins.containers.apptainer:Singularity",
        "bubblewrap": "pilot.plugins.containers.bubblewrap:Bubblewrap",
        "sif": "pilot.plugins.containers.sif:Sif",
        "launcher": "pilot.plugins.containers.launched:Launched",
        "docker": "pilot.plugins.containers.docker:Docker",
        "podman": "pilot.plugins.containers.podman:Podman",
        "dummy": "pilot.plugins.containers.dummy:DummyContainer",
    },
)
