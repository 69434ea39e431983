"""Checking documents against the JSON Schemas of `configs/schema/`: every problem and where it is, in a line each."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator
from typing import Any

from pilot.lib import datafiles


def problems(document: Any, schema: str) -> Iterator[str]:
    """What is wrong with a document, one line each: the place, the value, what was expected."""
    from jsonschema import Draft202012Validator

    rules = json.loads(datafiles.text(f"schema/{schema}.json"))
    for error in sorted(Draft202012Validator(rules).iter_errors(document), key=lambda e: list(map(str, e.path))):
        place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.path).lstrip(".")
        shown = json.dumps(error.instance, default=str)
        shown = shown if len(shown) <= 60 else shown[:57] + "..."
        yield f"{place or 'document'}: {_wanted(error, shown)}"


def _wanted(error: Any, shown: str) -> str:
    if error.validator == "additionalProperties":
        known = error.schema.get("properties", {})
        unknown = sorted(set(error.instance) - set(known))
        return "; ".join(f"there is no {name!r}{nearest(name, known)}" for name in unknown)
    if error.validator == "required":
        return str(error.message)
    said = error.schema.get("description")
    return f"{shown} is not {said}" if said else str(error.message)


def nearest(name: str, known: Any) -> str:
    """`; did you mean 'x'?` for the known name that is most like this one, or nothing."""
    lower = {str(other).lower(): str(other) for other in known}
    found = difflib.get_close_matches(name.lower(), lower, 1, cutoff=0.7)
    return f"; did you mean {lower[found[0]]!r}?" if found else ""


def known_keys(schema: str) -> list[str]:
    """The keys that a schema describes."""
    return list(json.loads(datafiles.text(f"schema/{schema}.json")).get("properties", {}))
