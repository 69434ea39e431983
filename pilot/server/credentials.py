"""The server's file of credentials: who may call, and what can be handed out to them."""

from __future__ import annotations

from pathlib import Path

import msgspec


class TokenOwner(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whose token it is: the virtual organisation and the roles that `Origin` may ask for."""

    name: str
    vo: str
    roles: tuple[str, ...] = ()


class Roles(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the owner of a certificate may do."""

    roles: tuple[str, ...] = ()


class AccessToken(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A token for `get_access_token`, given to who shows the key."""

    key: str
    token: str


class Credentials(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file's contents (JSON).

    `tokens` by the token's text and `dns` by DN say who calls. `proxies` by role (`""` for none), `key_pairs` by
    name, `access_tokens` by client, `user_secrets` by key and `pilot_secrets` are handed out.
    """

    tokens: dict[str, TokenOwner] = {}
    dns: dict[str, Roles] = {}
    proxies: dict[str, str] = {}
    key_pairs: dict[str, str] = {}
    access_tokens: dict[str, AccessToken] = {}
    user_secrets: dict[str, str] = {}
    pilot_secrets: dict[str, str] = {}


def read(path: Path) -> Credentials:
    """The credentials in a file; raises `OSError`, or `ValueError` with the place of the mistake."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Credentials)
    except msgspec.DecodeError as error:
        raise ValueError(f"{path}: {error}") from error
