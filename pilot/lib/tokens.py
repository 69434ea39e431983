"""Bearer tokens and certificates: where they are, whether they can be shown, and what is wrong with them."""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import Iterator, Mapping

import msgspec

from pilot.lib.certificate import not_after
from pilot.lib.credentials import BadCredential, check_private


class Trouble(msgspec.Struct, frozen=True):
    """Why a credential is of no use: it has `expired`, or what `text` says. Tells the file, never what is in it."""

    text: str
    expired: bool = False


def token_of(environment: Mapping[str, str], token_file: str = "") -> str:
    """The token to show, empty if there is none that can be.

    It is in `token_file` where that is named; else where WLCG's token discovery looks. Raises `BadCredential` for a
    `token_file` that holds none.
    """
    if token_file:
        return token_in(token_file)
    return next((token for _, token, wrong in _found(environment) if not wrong), "")


def token_trouble(environment: Mapping[str, str], token_file: str = "") -> Trouble | None:
    """What is wrong with the token that was to be shown, or with the first one that could not be."""
    found = iter([_look(token_file)]) if token_file else _found(environment)
    where, token, wrong = next(found, ("", "", ""))
    end = None if wrong else token_end(token)
    if end is not None and end <= time.time():
        return Trouble(f"the token in {where} ended at {_utc(end)}", expired=True)
    return Trouble(wrong) if wrong else None


def certificate_trouble(path: str) -> Trouble | None:
    """What is wrong with the certificate or proxy that is to be shown; None for none at all."""
    if not path:
        return None
    try:
        end = not_after(path)
    except OSError as error:
        return Trouble(f"certificate {path}: {error.strerror}")
    except ValueError as error:
        return Trouble(str(error))
    return None if end > time.time() else Trouble(f"{path} ended at {_utc(end)}", expired=True)


def token_in(path: str) -> str:
    """The bearer token in a file. Raises `BadCredential` for a file that cannot be read or holds none."""
    try:
        with open(path, encoding="ascii") as stream:
            text = stream.read(1 << 16).strip()
    except OSError as error:
        raise BadCredential(f"token file {path}: {error.strerror}") from error
    except ValueError as error:
        raise BadCredential(f"token file {path} holds no token") from error
    if not text:
        raise BadCredential(f"token file {path} is empty")
    if not _can_be_one(text):
        raise BadCredential(f"token file {path} holds more than a token")
    return text


def token_end(token: str) -> float | None:
    """The epoch s at which a token ends, None where it does not say (it is no JWT)."""
    parts = token.split(".")
    try:
        return float(json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))["exp"])
    except (IndexError, KeyError, TypeError, ValueError):
        return None


def _found(environment: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """Where a token is, the token, and what is wrong with it: in BEARER_TOKEN, the file of BEARER_TOKEN_FILE, in the
    run-time directory and in /tmp. Nobody named the last two: they count only if they are ours alone."""
    if text := environment.get("BEARER_TOKEN", "").strip():
        yield "BEARER_TOKEN", text, "" if _can_be_one(text) else "BEARER_TOKEN holds no token"
    if path := environment.get("BEARER_TOKEN_FILE", ""):
        yield _look(path)
    for folder in filter(None, (environment.get("XDG_RUNTIME_DIR", ""), "/tmp")):
        path = os.path.join(folder, f"bt_u{os.geteuid()}")
        try:
            if os.stat(path).st_uid == os.geteuid() and check_private(path):
                yield _look(path)
        except (OSError, BadCredential):
            continue


def _look(path: str) -> tuple[str, str, str]:
    try:
        return path, token_in(path), ""
    except BadCredential as error:
        return path, "", str(error)


def _can_be_one(text: str) -> bool:
    return text.isascii() and text.isprintable() and " " not in text


def _utc(at: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))
