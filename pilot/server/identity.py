"""Who calls: the identity behind a request and the roles it has."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Caller:
    """An identity: `dn` is the subject of a certificate or one made from a token; roles are words like production."""

    dn: str = ""
    roles: frozenset[str] = frozenset()
    known: bool = False
    limited: bool = False

    @property
    def is_production(self) -> bool:
        """Whether v1's production methods are open to this caller."""
        return "production" in self.roles

    @property
    def is_pilot(self) -> bool:
        """Whether the classic dialect's pilot methods are open to this caller."""
        return bool(self.roles & {"production", "pilot"})


ANYBODY = Caller("", frozenset({"production", "pilot"}), known=True)
"""The caller of a server that asks for no credentials."""
