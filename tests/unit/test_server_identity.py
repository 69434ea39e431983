"""Who calls the server."""

from __future__ import annotations

import pytest

from pilot.server.certificates import Subject, subject
from pilot.server.credentials import Credentials, Roles, TokenOwner
from pilot.server.identity import ANYBODY, NOBODY, Caller, caller, split_origin
from pilot.server.refusal import Forbidden

KNOWN = Credentials(
    tokens={"t1": TokenOwner("robot", "atlas", ("production", "pilot"))},
    dns={"/CN=boss": Roles(("production",))},
)


def who(subject: Subject | None = None, **headers: str) -> Caller:
    return caller(KNOWN, subject, headers.get, True)


def test_a_server_without_credentials_lets_everybody_in() -> None:
    assert caller(None, None, {}.get, False) is ANYBODY


def test_nobody_shows_nothing() -> None:
    assert who() is NOBODY


@pytest.mark.parametrize(
    ("origin", "roles"), [("atlas", set()), ("atlas:production", {"production"}), ("atlas.pilot", {"pilot"})]
)
def test_the_origin_picks_a_role_of_the_token(origin: str, roles: set[str]) -> None:
    assert who(authorization="Bearer t1", origin=origin) == Caller("/CN=robot", frozenset(roles), known=True)


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer t2", "origin": "atlas"},
        {"authorization": "Basic t1", "origin": "atlas"},
        {"authorization": "Bearer t1"},
        {"authorization": "Bearer t1", "origin": "cms"},
        {"authorization": "Bearer t1", "origin": "atlas:admin"},
    ],
)
def test_a_bad_token_is_forbidden_even_beside_a_good_certificate(headers: dict[str, str]) -> None:
    with pytest.raises(Forbidden):
        who(Subject("/CN=boss", limited=False), **headers)


def test_a_certificate_has_the_roles_of_its_owner() -> None:
    assert who(Subject("/CN=boss", limited=False)).is_production
    stranger = who(Subject("/CN=other", limited=False))
    assert (stranger.known, stranger.roles) == (True, frozenset())


@pytest.mark.parametrize(
    ("origin", "parts"),
    [
        ("vo", ("vo", "")),
        ("atlas.production", ("atlas", "production")),
        ("vo.example.org", ("vo.example.org", "")),
        ("vo.example.org:pilot", ("vo.example.org", "pilot")),
    ],
)
def test_a_vo_that_begins_with_vo_keeps_its_dots(origin: str, parts: tuple[str, str]) -> None:
    assert split_origin(origin) == parts


@pytest.mark.parametrize("tail", ["", "/CN=12345", "/CN=proxy", "/CN=12345/CN=678"])
def test_the_parts_that_proxies_add_are_taken_off(tail: str) -> None:
    assert subject("/DC=org/CN=Some One" + tail, b"") == Subject("/DC=org/CN=Some One", limited=False)


def test_limited_proxies_are_known_by_name_or_policy() -> None:
    assert subject("/CN=x/CN=limited proxy", b"").limited
    assert subject("/CN=x/CN=1", b"..." + bytes.fromhex("060b2b060104019b5001010109") + b"...").limited
