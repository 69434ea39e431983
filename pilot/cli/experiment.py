"""What an experiment's file says (`configs/experiments/`), and what is told of an experiment that has none."""

from __future__ import annotations

from typing import Any

#: The experiment that needs no rules.
PLAIN = "generic"


def section(experiment: str, name: str) -> dict[str, Any]:
    """One section of the experiment's file; empty for an experiment without a file."""
    import tomllib

    from pilot.lib import datafiles

    if experiment not in datafiles.names("experiments", ".toml"):
        return {}
    found = tomllib.loads(datafiles.text(f"experiments/{experiment}.toml")).get(name, {})
    return dict(found)


def without_rules(experiment: str) -> str:
    """What is to be told of an experiment that nobody has written rules for; empty for one that is known."""
    from pilot.lib import datafiles
    from pilot.lib.validate import nearest

    known = sorted({PLAIN, *datafiles.names("experiments", ".toml")})
    if experiment in known:
        return ""
    return (
        f"the experiment {experiment!r} is not known{nearest(experiment, known) or '.'} Its jobs run by the rules of"
        f" their queue alone, as those of {PLAIN} do (--experiment knows {', '.join(known)})"
    )
