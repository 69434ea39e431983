"""What of a job description is secret, and how it is kept apart from the rest."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from pilot.core.fields import literal

#: Keys of a description (protocol.md 1.4, 1.8, 2.2) whose values nobody but their user may see.
SECRET_KEYS = frozenset(
    {
        "secrets",
        "pilotSecrets",
        "credname",
        "myproxy",
        "token",
        "tokenKey",
        "token_key",
        "userProxy",
        "user_proxy",
        "privateKey",
        "private_key",
    }
)
#: Shorter values (a flag, a number) would black out innocent text; nothing that protects anything is so short.
_SHORTEST = 6
_SHORTEST_TOLD = 8
_TOLD = re.compile(
    r"""(?ix) (?: (?:^|(?<=[\s"'])) --? (?:[\w-]*[-_])? (?:password|passwd|passphrase|secret|token
        |(?:api|secret|access)[-_]?key) [=\s]\s*
    | \b (?:\w*_)? (?:PASSWORD|PASSWD|SECRET|TOKEN|SECRET_ACCESS_KEY|API_KEY) = )
    (?P<value> "[^"\s]+" | '[^'\s]+' | [^\s"';|&]+ )"""
)


class Secrets(msgspec.Struct, frozen=True):
    """The secrets of one job: the user's (`secrets`), the pilot's (`pilotSecrets`) and other credentials by key.

    Its printed form shows nothing.
    """

    user: dict[str, Any] = {}
    pilot: dict[str, Any] = {}
    other: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"Secrets({len(list(self.values()))} values)"

    def values(self) -> Iterator[str]:
        """Every text in them that is long enough to be one, for redaction."""
        for group in (self.user, self.pilot, self.other):
            for text in _texts(group):
                if len(text) >= _SHORTEST:
                    yield text


def split_secrets(raw: Mapping[str, Any]) -> tuple[dict[str, Any], Secrets]:
    """The description without its secrets, and the secrets. Nothing else is changed."""
    clean = {key: value for key, value in raw.items() if key not in SECRET_KEYS}
    other = {key: str(raw[key]) for key in sorted(SECRET_KEYS & raw.keys()) if raw[key] and "ecrets" not in key}
    return clean, Secrets(secret_map(raw.get("secrets")), secret_map(raw.get("pilotSecrets")), other)


def secret_words(text: str) -> list[str]:
    """Secrets that stand openly in a command line: values of options and variables whose names say what they are.

    Values that can hardly be one (short, a path, a variable, letters alone) are left out: they would black out
    innocent text.
    """
    found = []
    for match in _TOLD.finditer(text):
        value = match["value"].strip("\"'")
        likely = len(value) >= _SHORTEST_TOLD and value[0] not in "-/$@{" and not value.isalpha()
        if likely and any(letter.isalpha() for letter in value):
            found.append(value)
    return found


def secret_map(value: object) -> dict[str, Any]:
    """Secrets by name, out of an object or its JSON text; a text that is no object is kept under the name ``""``."""
    found = literal(value) if isinstance(value, str) else value
    if isinstance(found, Mapping):
        return {str(name): item for name, item in found.items()}
    text = str(value or "").strip()
    return {"": text} if text and text.lower() not in ("null", "none") else {}


def _texts(value: object) -> Iterator[str]:
    """All texts inside a value; one that is JSON itself also gives the texts within."""
    if isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, str):
        yield value
        if value[:1] in "[{":
            yield from _texts(literal(value))
