"""What every error states, and the form in which an error is kept."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

import msgspec


class Owner(StrEnum):
    """Who has to act on an error."""

    PAYLOAD = "payload"
    USER = "user"
    SITE = "site"
    SERVER = "server"
    PILOT = "pilot"


class Failure(msgspec.Struct, frozen=True, omit_defaults=True):
    """An error as data: what is kept in the PilotDB and reported to the server.

    `message` is one line for a person. `causes` holds what failed as well, the most telling first;
    nothing that went wrong is forgotten because something else is reported.
    """

    code: int
    name: str
    message: str
    owner: Owner
    retry: bool = False
    causes: tuple[Failure, ...] = ()

    def with_cause(self, cause: Failure) -> Failure:
        """The same failure, knowing one more thing that went wrong; what it knows already is not told twice."""
        known = {(failure.code, failure.message) for failure in (self, *self.causes)}
        new = [msgspec.structs.replace(failure, causes=()) for failure in (cause, *cause.causes)]
        more = tuple(failure for failure in new if (failure.code, failure.message) not in known)
        return msgspec.structs.replace(self, causes=(*self.causes, *more))


ERRORS: dict[int, type[PilotError]] = {}
"""Every error by its number; filled while the classes are defined, never afterwards."""


class PilotError(Exception):
    """An error occurred."""

    code: ClassVar[int] = 0
    retry: ClassVar[bool] = False
    owner: ClassVar[Owner] = Owner.PILOT

    def __init_subclass__(cls) -> None:
        """Register the class under its number; two classes with one number are a mistake in the tree."""
        if "code" not in cls.__dict__:
            return
        known = ERRORS.setdefault(cls.code, cls)
        if known is not cls:
            raise TypeError(f"error number {cls.code} belongs to {known.__name__} and {cls.__name__}")

    def __init__(self, detail: str = "") -> None:
        self.detail = detail
        super().__init__(detail)

    def __str__(self) -> str:
        text = (type(self).__doc__ or "").strip().splitlines()[0].rstrip(".")
        return f"{text}: {self.detail}" if self.detail else text

    def failure(self) -> Failure:
        """The error as data, with the chain of its causes (`raise ... from ...`)."""
        mine = Failure(self.code, type(self).__name__, str(self), self.owner, self.retry)
        cause = self.__cause__
        while cause is not None:
            if isinstance(cause, PilotError):
                return mine.with_cause(cause.failure())
            cause = cause.__cause__
        return mine


def error_of_code(code: int) -> type[PilotError]:
    """The class that has this number, or `PilotError` itself for a number nobody has."""
    return ERRORS.get(abs(code), PilotError)


#: Found later than what they explain: they are reported although another error was noted first.
_MORE_TELLING = frozenset({1212, 1235, 1211, 1098, 1115, 1335, 1150, 1151, 1152, 1213})
#: Follow from an earlier error: they never replace one.
_CONSEQUENCES = frozenset({1305, 1220, 1315, 1165, 1350, 1137, 1320})


def first_of(known: Failure | None, new: Failure) -> Failure:
    """Decide which of two errors is reported; the other is kept among its causes.

    The first error wins, unless it is a mere consequence (a payload that returned non-zero) and the new
    one tells why (out of memory, a limit, no space): protocol.md 6.1.
    """
    if known is None:
        return new
    if known.code == new.code and known.message == new.message:
        return known
    if new.code in _MORE_TELLING and known.code in _CONSEQUENCES:
        return new.with_cause(known)
    return known.with_cause(new)
