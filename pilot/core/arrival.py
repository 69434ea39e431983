"""A job description on arrival: what can be kept of one that breaks the rules. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pilot.core.errors import ConversionFailure
from pilot.core.fields import Fields
from pilot.core.job import JobDefinition
from pilot.core.secrets import split_secrets

_LARGEST = 2**63
_DEEPEST = 50


def writable(raw: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The description as every file and database can hold it, and the keys that had to be changed for that.

    Half surrogates become question marks, numbers beyond 64 bits text; what is nested too deeply is left out.
    """
    held: dict[str, Any] = {}
    changed: list[str] = []
    for key, value in raw.items():
        spoilt: list[str] = []
        name = str(_held(key, spoilt, 0))
        held[name] = _held(value, spoilt, 0)
        changed += [name] if spoilt else []
    return held, tuple(changed)


def identity_of(raw: Mapping[str, Any]) -> JobDefinition:
    """As much of a description that breaks the rules as is needed to report it; the number is 0 if it has none."""
    clean, _ = split_secrets(raw)
    return JobDefinition(job_id=max(0, _number(raw, "PandaID")), attempt=max(0, _number(raw, "attemptNr")), raw=clean)


def _number(raw: Mapping[str, Any], key: str) -> int:
    try:
        return Fields(raw).integer(key) or 0
    except ConversionFailure:
        return 0


def _held(value: Any, spoilt: list[str], depth: int) -> Any:
    if isinstance(value, str):
        if value.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in value):
            return value
        spoilt.append(value)
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, int) and abs(value) >= _LARGEST:
        spoilt.append("number")
        return str(value) if abs(value) < 10**400 else ""
    if isinstance(value, (dict, list, tuple)):
        if depth >= _DEEPEST:
            spoilt.append("depth")
            return None
        if isinstance(value, dict):
            return {str(_held(k, spoilt, depth + 1)): _held(v, spoilt, depth + 1) for k, v in value.items()}
        return [_held(item, spoilt, depth + 1) for item in value]
    return value
