"""Reading one value of a job description, whatever dialect wrote it: JSON types or flat text, NULL, None or empty."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from pilot.core.errors import ConversionFailure, PilotError

_EMPTY = frozenset({"", "null", "none"})
_YES = frozenset({"true", "yes", "on", "1"})
_NO = frozenset({"false", "no", "off", "0"})
_INTEGER = re.compile(r"([+-]?[0-9]{1,20})(?:\.0*)?")
_INTEGER_LIMIT = 2**63


class Slip(NamedTuple):
    """One mistake in a description: the key that has to be corrected, and the error that it is."""

    key: str
    error: PilotError


class Fields:
    """The values of one description by key. A value that is missing, null, `NULL`, `None` or empty is not there.

    A value that cannot be read as what the key means raises `ConversionFailure` (1302), which names the key,
    the value and what was expected. With `noted` nothing is raised: the mistake is added there, once, and the value
    counts as not there.
    """

    def __init__(self, raw: Mapping[str, Any], noted: list[Slip] | None = None) -> None:
        self._raw, self._noted = raw, noted

    def slip(self, key: str, error: PilotError) -> None:
        """Raise the error, or note it where all are wanted."""
        if self._noted is None:
            raise error
        if all((key, str(error)) != (slip.key, str(slip.error)) for slip in self._noted):
            self._noted.append(Slip(key, error))

    def inside(self, key: str) -> Fields:
        """The values of an object that is a value here."""
        return Fields(self.mapping(key), self._noted)

    def has(self, key: str) -> bool:
        """Whether the key has a value."""
        value = self._raw.get(key)
        return value is not None and not (isinstance(value, str) and value.strip().lower() in _EMPTY)

    def text(self, key: str, default: str = "") -> str:
        """The value as text, without blanks around it. Numbers are written out; lists and objects are refused."""
        if not self.has(key):
            return default
        value = self._raw[key]
        if isinstance(value, str):
            return value.strip()
        if isinstance(value, (int, float)):
            return str(value)
        self._unreadable(key, value, "text")
        return default

    def integer(self, key: str) -> int | None:
        """The value as an integer; digits in text and whole floats (`1.0`) count, anything else is refused."""
        if not self.has(key):
            return None
        value = self._raw[key]
        digits = _INTEGER.fullmatch(str(value).strip()) if not isinstance(value, bool) else None
        number = int(digits[1]) if digits else 0
        if digits is None or abs(number) >= _INTEGER_LIMIT:
            self._unreadable(key, value, "an integer")
            return None
        return number

    def amount(self, key: str, default: int = 0) -> int:
        """A number of something: an integer where nothing, or less than nothing, means the default."""
        value = self.integer(key)
        return default if value is None or value < 0 else value

    def flag(self, key: str, default: bool = False) -> bool:
        """A yes or no in any of the forms `True`, `true`, `on`, `1`; words that are neither are refused."""
        if not self.has(key):
            return default
        value = self._raw[key]
        if isinstance(value, bool):
            return value
        word = str(value).strip().lower()
        if word not in _YES | _NO:
            self._unreadable(key, value, "True or False")
            return default
        return word in _YES

    def names(self, key: str) -> list[str]:
        """A comma-separated list (or a JSON one): one entry each, `NULL` and `None` made empty, order kept."""
        if not self.has(key):
            return []
        value = self._raw[key]
        if isinstance(value, (list, tuple)):
            entries = ["" if entry is None else str(entry) for entry in value]
        else:
            entries = self.text(key).split(",")
        return ["" if entry.strip().lower() in _EMPTY else entry.strip() for entry in entries]

    def mapping(self, key: str) -> dict[str, Any]:
        """An object: as JSON, as JSON in a text, or as a Python literal in a text (the classic dialect)."""
        if not self.has(key):
            return {}
        value = self._raw[key]
        found = literal(value) if isinstance(value, str) else value
        if not isinstance(found, Mapping):
            self._unreadable(key, value, "an object")
            return {}
        return {str(name): item for name, item in found.items()}

    def _unreadable(self, key: str, value: object, wanted: str) -> None:
        shown = repr(value)
        shown = shown if len(shown) <= 80 else shown[:77] + "..."
        self.slip(key, ConversionFailure(f"{key} is {shown}, expected {wanted}: correct it in the job description"))


def literal(text: str) -> Any:
    """The value that a text means, as JSON or as a Python literal; None if it is neither."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None
