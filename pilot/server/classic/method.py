"""What a classic method is, its status codes, and reading numbers from its texts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from pilot.server.classic.encoding import Texts
from pilot.server.identity import Caller
from pilot.server.jobserver import JobServer


class Code(IntEnum):
    """The status codes of the dialect (protocol.md 1.3)."""

    SUCCESS = 0
    TIMEOUT = 10
    NO_JOBS = 20
    FAILED = 30
    INVALID = 50
    ROLE = 60
    DENIED = 70
    MISSING = 80
    LATER = 90


# A dictionary is encoded by the request's Accept, a text goes out as it is.
Answer = dict[str, Any] | str


@dataclass(frozen=True)
class Readings:
    """The parameters that were given, and what they mean."""

    texts: Texts

    def text(self, name: str) -> str | None:
        """A parameter's text; None if it is absent or says nothing."""
        value = self.texts.get(name)
        return None if value in (None, "", "None", "NULL", "null") else value

    def number(self, name: str) -> int | None:
        """A parameter's whole number; None if it says nothing. A number with a fraction loses it.

        Raises `Wrong` for what is no number.
        """
        value = self.text(name)
        try:
            return None if value is None else int(float(value)) if not _is_digits(value) else int(value)
        except (ValueError, OverflowError) as error:
            raise Wrong(f"{name} is no number: {value!r:.100}") from error

    def need(self, name: str) -> int:
        """A number that has to be there; raises `Wrong` if it is not."""
        value = self.number(name)
        if value is None:
            raise Wrong(f"{name} is missing")
        return value


@dataclass(frozen=True)
class Call(Readings):
    """One call: what was said, by whom, and whether the caller reads JSON."""

    server: JobServer
    caller: Caller
    json: bool


def _is_digits(text: str) -> bool:
    return text.lstrip("+-").isdecimal()


class Wrong(Exception):
    """A parameter cannot be used: the answer is StatusCode 50."""


@dataclass(frozen=True)
class Method:
    """`required` and `optional` name every parameter.

    `pilot` asks for the pilot or production role; `denied` is the code for who does not have it.
    """

    name: str
    work: Callable[[Call], Awaitable[Answer]]
    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    pilot: bool = True
    denied: Code = Code.ROLE


def coded(code: Code, dialog: str | None = None) -> dict[str, Any]:
    """An answer of a bare code and, if given, the text that explains it."""
    return {"StatusCode": int(code)} | ({"errorDialog": dialog} if dialog else {})
