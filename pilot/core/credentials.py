"""When a credential has to be renewed, and when it is too late. Pure: times are handed in, epoch s."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import PurePath

import msgspec


class Kind(StrEnum):
    """What a credential is."""

    PROXY = "proxy"
    TOKEN = "token"


class Step(StrEnum):
    """What is to be done about a credential now."""

    KEEP = "keep"
    RENEW = "renew"
    EXPIRED = "expired"


class Schedule(msgspec.Struct, frozen=True):
    """The rules. A proxy is renewed when `proxy_margin_s` are left, a token `token_margin_s` before its end.

    A token that does not tell its end is renewed every `blind_s`. Looks are at least `least_s` (a tenth of what is
    left, if that is shorter) and at most `most_s` apart, so that a credential that somebody else renewed is noticed.
    """

    proxy_margin_s: float = 3600.0
    token_margin_s: float = 1800.0
    blind_s: float = 3600.0
    least_s: float = 60.0
    most_s: float = 600.0


def next_step(
    kind: Kind,
    ends_at: float | None,
    got_at: float,
    now: float,
    rules: Schedule | None = None,
    *,
    fetched: bool = False,
    roles_end_at: float | None = None,
) -> tuple[Step, float]:
    """What to do now and in how many seconds to look again.

    `got_at` is when this credential was obtained. One that was `fetched` and lives shorter than twice the margin is
    renewed at half its life instead of at once and for ever. `roles_end_at`: what a proxy says of its owner's roles
    may end before the proxy; that makes it due, not useless.
    """
    rules = rules or Schedule()
    if ends_at is not None and ends_at <= now:
        return Step.EXPIRED, rules.least_s
    margin = rules.proxy_margin_s if kind is Kind.PROXY else rules.token_margin_s
    ends = [end for end in (ends_at, roles_end_at) if end is not None]
    if ends:
        due = min(ends) - margin
        due = max(due, (got_at + min(ends)) / 2) if fetched else due
    elif kind is Kind.TOKEN:
        due = got_at + rules.blind_s
    else:
        return Step.KEEP, rules.most_s
    pause = rules.least_s if ends_at is None else min(rules.least_s, max(1.0, (ends_at - now) / 10))
    if due <= now:
        return Step.RENEW, pause
    return Step.KEEP, min(max(due - now, pause), rules.most_s)


def token_end(token: str) -> float | None:
    """The end (`exp`) of a JSON web token in epoch s; None for another kind of token. No signature is checked."""
    parts = token.strip().split(".")
    if len(parts) != 3:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        return float(claims["exp"])
    except (binascii.Error, ValueError, KeyError, TypeError):
        return None


class Place(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where credentials lie: files, and the VO of the token. Empty: none."""

    proxy: str = ""
    ca_path: str = ""
    token: str = ""
    token_key: str = ""
    origin: str = ""


_TOKEN_NAMES = ("OIDC_REFRESHED_AUTH_TOKEN", "OIDC_AUTH_TOKEN", "PANDA_AUTH_TOKEN")
_TOKEN_DIRS = ("OIDC_AUTH_DIR", "PANDA_AUTH_DIR")
_LATER_DIRS = ("PILOT_SOURCE_DIR", "PILOT_WORK_DIR", "HOME")
_GRID_CERTIFICATES = "/etc/grid-security/certificates"


def find(environ: Mapping[str, str], uid: int, exists: Callable[[str], bool]) -> Place:
    """The credentials that the environment speaks of (protocol.md 1.2). The token's variables hold file names."""
    proxy = environ.get("X509_USER_PROXY", "") or f"/tmp/x509up_u{uid}"
    proxy = proxy if exists(proxy) else ""
    ca_path = environ.get("X509_CERT_DIR", "") or (_GRID_CERTIFICATES if exists(_GRID_CERTIFICATES) else "")
    folders = [environ.get(name, "") for name in _TOKEN_DIRS]
    folders += [str(PurePath(proxy).parent)] if proxy else []
    folders += [environ.get(name, "") for name in _LATER_DIRS]

    def located(name: str) -> str:
        if not name or PurePath(name).is_absolute():
            return name if name and exists(name) else ""
        candidates = (str(PurePath(folder) / name) for folder in folders if folder)
        return next((path for path in candidates if exists(path)), name if exists(name) else "")

    return Place(
        proxy=proxy,
        ca_path=ca_path,
        token=next((path for name in _TOKEN_NAMES if (path := located(environ.get(name, "")))), ""),
        token_key=located(environ.get("PANDA_AUTH_TOKEN_KEY", "")),
        origin=environ.get("OIDC_AUTH_ORIGIN", "") or environ.get("PANDA_AUTH_ORIGIN", ""),
    )


#: Variables that name credentials: a payload never gets them.
VARIABLES = frozenset(
    {
        *_TOKEN_NAMES,
        *_TOKEN_DIRS,
        "OIDC_AUTH_ORIGIN",
        "PANDA_AUTH_ORIGIN",
        "PANDA_AUTH_TOKEN_KEY",
        "PANDA_AUTH_ID_TOKEN",
        "PANDA_AUTH_VO",
        "BEARER_TOKEN",
        "BEARER_TOKEN_FILE",
    }
)
