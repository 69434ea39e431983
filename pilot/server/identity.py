"""Who calls: the identity behind a request and the roles it has (protocol.md 1.2, simplified)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pilot.server.certificates import Subject
from pilot.server.credentials import Credentials
from pilot.server.refusal import Forbidden


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

NOBODY = Caller()


def caller(
    credentials: Credentials | None, subject: Subject | None, header: Callable[[str], str | None], client_ca: bool
) -> Caller:
    """The caller behind a certificate's subject or the headers `Authorization` and `Origin`.

    A token goes before a certificate. A token that is not good, or is used with an `Origin` that it does not carry,
    raises `Forbidden`. Without credentials file and client CA everybody may do everything.
    """
    if credentials is None and not client_ca:
        return ANYBODY
    known = credentials or Credentials()
    if (authorization := header("authorization")) is not None:
        return _of_token(known, authorization, header("origin"))
    if subject is None:
        return NOBODY
    owner = known.dns.get(subject.dn)
    return Caller(subject.dn, frozenset(owner.roles if owner else ()), known=True, limited=subject.limited)


def _of_token(known: Credentials, authorization: str, origin: str | None) -> Caller:
    kind, _, token = authorization.partition(" ")
    owner = known.tokens.get(token.strip()) if kind.lower() == "bearer" else None
    if owner is None:
        raise Forbidden("invalid token")
    if not origin:
        raise Forbidden("Origin is missing")
    vo, role = split_origin(origin)
    if vo != owner.vo:
        raise Forbidden(f"the token is not for {vo}")
    if role and role not in owner.roles:
        raise Forbidden(f"the token has no role {role} in {vo}")
    return Caller(f"/CN={owner.name}", frozenset({role} if role else ()), known=True)


def split_origin(origin: str) -> tuple[str, str]:
    """VO and role ("" for none) of `vo`, `vo:role` or `vo.role`; a VO that begins with `vo.` keeps its dots."""
    vo, colon, role = origin.partition(":")
    if not colon and not origin.startswith("vo."):
        vo, _, role = origin.partition(".")
    return vo, role
