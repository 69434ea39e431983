"""Known secrets are blacked out wherever a text leaves the pilot: by value, in every form in which they may appear."""

from __future__ import annotations

import base64
import json
import logging
import re
import threading
from collections.abc import Iterable
from typing import Any, TypeVar
from urllib.parse import quote, quote_plus

import msgspec

T = TypeVar("T")

#: Shorter texts are not taken for secrets: they would black out innocent words.
SHORTEST = 6
MARK = "[secret]"


class Redactor:
    """Knows the secrets of one pilot. `add` and `scrub` may be called from any thread."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        self._values: set[str] = set()
        self._pattern: re.Pattern[str] | None = None
        self._lock = threading.Lock()
        self.add(values)

    def add(self, values: Iterable[str]) -> None:
        """Learn secrets. Of a text with several lines (a key, a proxy) each long line is one as well."""
        with self._lock:
            for value in values:
                for text in (value, value.strip(), *value.splitlines()):
                    if len(text) >= SHORTEST and not text.startswith("-----"):
                        self._values.update(_forms(text))
            ordered = sorted(self._values, key=len, reverse=True)
            self._pattern = re.compile("|".join(map(re.escape, ordered))) if ordered else None

    def scrub(self, text: str) -> str:
        """The text with every known secret replaced."""
        pattern = self._pattern
        return pattern.sub(MARK, text) if pattern else text

    def clean(self, value: T) -> T:
        """The same value with every known secret replaced in its texts, at any depth; structs stay structs."""
        if self._pattern is None:
            return value
        plain = msgspec.to_builtins(value)
        cleaned = self._walk(plain)
        return value if cleaned == plain else msgspec.convert(cleaned, type(value))

    def _walk(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.scrub(value)
        if isinstance(value, dict):
            return {self._walk(key): self._walk(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return type(value)(self._walk(item) for item in value)
        return value

    def scrub_bytes(self, data: bytes) -> bytes:
        """The same for bytes of any encoding."""
        return self.scrub(data.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")


class RedactingFormatter(logging.Formatter):
    """Formats a record as another formatter does and scrubs the result, tracebacks included."""

    def __init__(self, inner: logging.Formatter, redactor: Redactor) -> None:
        super().__init__()
        self._inner, self._redactor = inner, redactor

    def format(self, record: logging.LogRecord) -> str:
        return self._redactor.scrub(self._inner.format(record))


def _forms(text: str) -> Iterable[str]:
    """The text as it is, in a URL, in JSON and in base64 (as in an Authorization header)."""
    yield text
    yield quote(text, safe="")
    yield quote_plus(text)
    yield json.dumps(text)[1:-1]
    yield json.dumps(text, ensure_ascii=False)[1:-1]
    yield base64.b64encode(text.encode("utf-8", "surrogateescape")).decode()
