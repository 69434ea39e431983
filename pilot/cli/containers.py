"""How an experiment's payloads are put into containers on this node."""

from __future__ import annotations

import os

import msgspec

from pilot.runtime.containment import Rules, rules_of


def container_rules(experiment: str) -> Rules:
    """The rules that come with the program, none for an unknown experiment. What is not on this node is not bound."""
    import tomllib

    from pilot.lib import datafiles

    if experiment not in datafiles.names("experiments", ".toml"):
        return Rules()
    rules = rules_of(tomllib.loads(datafiles.text(f"experiments/{experiment}.toml")).get("container", {}))
    return msgspec.structs.replace(rules, binds=tuple(path for path in rules.binds if os.path.exists(path)))
