"""What payloads run in: what experiments say of containers and variables, as far as it holds on this node; logins."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from pilot.cli.experiment import section
from pilot.core.registrylogins import TOKENS, logins_of
from pilot.runtime.containment import Rules, rules_of
from pilot.runtime.experiment import Variables

if TYPE_CHECKING:
    from pilot.core.settings import Settings
    from pilot.engine.boxes import Boxes
    from pilot.lib.redact import Redactor
    from pilot.plugins.containers.base import Container


def make_boxes(settings: Settings, environ: Mapping[str, str], redactor: Redactor) -> Boxes:
    """The runtimes; logins of the environment are known to nobody but them."""
    from pilot.engine.boxes import Boxes

    logins = logins_of(environ.get(TOKENS, ""))
    redactor.add(login.password for login in logins)
    env = {name: value for name, value in environ.items() if name != TOKENS}

    def load(name: str) -> Container:
        from pilot.plugins.containers.base import Host
        from pilot.plugins.containers.registry import CONTAINERS

        made: Any = CONTAINERS.load(name)
        runtime: Container = made(Host(env=env, python=sys.executable))
        return runtime

    return Boxes(load, settings.container, settings.container_image, container_rules(settings.experiment), logins)


def container_rules(experiment: str) -> Rules:
    """The rules that come with the program, none for an unknown experiment. What is not on this node is not bound."""
    rules = rules_of(section(experiment, "container"))
    return msgspec.structs.replace(rules, binds=tuple(path for path in rules.binds if os.path.exists(path)))


def payload_variables(experiment: str) -> Variables:
    """What the experiment's payloads find in their environment; nothing for an unknown experiment."""
    return msgspec.convert(section(experiment, "payload"), Variables)
