"""What the job server says no with. Each becomes an answer in the words of the dialect that asked."""

from __future__ import annotations

from dataclasses import dataclass


class StoreError(Exception):
    """The database could not do what was asked (full disk, locked or foreign file); nothing was stored."""


class Unusable(Exception):
    """The server cannot start: `option` is the one of `pilot serve` whose value is at fault."""

    def __init__(self, option: str, message: str) -> None:
        super().__init__(message)
        self.option = option


class BadParameter(Exception):
    """A parameter is unknown, missing or of the wrong type; the text is the message for the caller."""


class Forbidden(Exception):
    """The credential is bad: the request is answered 403 with this text."""


class UnknownJob(Exception):
    """There is no job of that number."""


class BadType(BadParameter):
    """A parameter has the wrong JSON type."""


@dataclass(frozen=True)
class Fault:
    """One mistake in a submitted list: which description (from 0), its name if any, the key and what is wrong."""

    index: int
    job: str
    key: str
    message: str

    def __str__(self) -> str:
        name = f" ({self.job})" if self.job else ""
        return f"job {self.index}{name}: {self.key}: {self.message}"


class BadSubmission(Exception):
    """At least one description is wrong, so none was taken; `faults` names each mistake."""

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        super().__init__("; ".join(str(fault) for fault in faults))
        self.faults = faults
