"""Which variables go into a container."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase


def allowed(env: Mapping[str, str], names: Iterable[str]) -> dict[str, str]:
    """Those variables whose name is one of `names` or matches a pattern among them (`PANDA_*`, `*`)."""
    wanted = tuple(names)
    exact = frozenset(wanted)
    patterns = tuple(name for name in wanted if "*" in name)
    return {key: value for key, value in env.items() if key in exact or any(fnmatchcase(key, p) for p in patterns)}
