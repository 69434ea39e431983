"""What `pilot doctor` says of one thing."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Level(StrEnum):
    """How bad it is: nothing, something that some jobs will miss, something that makes jobs fail."""

    OK = "OK"
    WARN = "WARN"
    FAIL = "FAIL"


class Finding(msgspec.Struct, frozen=True):
    """One line: what was looked at, how it is, what was found, and what to do about it (empty if it is fine)."""

    name: str
    level: Level
    said: str
    advice: str = ""

    def plain(self) -> dict[str, str]:
        """The finding for JSON."""
        return {"name": self.name, "level": self.level.value, "said": self.said, "advice": self.advice}


def fine(name: str, said: str) -> Finding:
    """Nothing to do."""
    return Finding(name, Level.OK, said)


def warn(name: str, said: str, advice: str) -> Finding:
    """Some jobs will miss it."""
    return Finding(name, Level.WARN, said, advice)


def fail(name: str, said: str, advice: str) -> Finding:
    """Jobs would fail."""
    return Finding(name, Level.FAIL, said, advice)
