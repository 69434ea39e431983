"""Keys of object stores that a job server keeps (protocol.md 1.8): got when a file first needs them, kept in memory."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable

import msgspec

from pilot.core.storage import Storage
from pilot.lib.credentials import S3Keys

_log = logging.getLogger("pilot.credentials")
#: Keys may be changed at the server: they are asked for again after this time.
_LASTS_S = 3600.0
_YES = frozenset({"true", "1", "yes"})


class KeyNames(msgspec.Struct, frozen=True):
    """What a storage's settings say of its keys: their names at the server, and whether it is reached by TLS."""

    public: str
    private: str
    secure: bool | None = None


class KeyRing:
    """Any thread. `fetch` gets public and private key by their names, `hide` hears of them before anybody else.

    `know` is told of storages; `keys` is asked with the place of a file, `host:port/bucket/key`.
    """

    def __init__(self, fetch: Callable[[str, str], tuple[str, str]], hide: Callable[[Iterable[str]], None]) -> None:
        self._fetch, self._hide = fetch, hide
        self._names: dict[str, KeyNames] = {}
        self._got: dict[KeyNames, tuple[float, str, str]] = {}
        self._guard = threading.Lock()

    def know(self, storages: Iterable[Storage]) -> None:
        """Learn which places have keys at the server: those whose settings name `access_key` and `secret_key`."""
        for storage in storages:
            for access in storage.accesses:
                public, private = access.settings.get("access_key", ""), access.settings.get("secret_key", "")
                if public and private:
                    told = access.settings.get("is_secure", "").lower()
                    names = KeyNames(public, private, (told in _YES) if told else None)
                    self._names[_place(access.prefix)] = names

    def keys(self, place: str) -> S3Keys | None:
        """The keys for a file's place, None where the server keeps none. Raises `PilotError` if it does not tell."""
        found = [prefix for prefix in tuple(self._names) if _below(place, prefix)]
        if not found:
            return None
        names = self._names[max(found, key=len)]
        with self._guard:
            at, public, private = self._got.get(names, (0.0, "", ""))
            if not public or time.monotonic() - at > _LASTS_S:
                public, private = self._fetch(names.public, names.private)
                self._hide([public, private])
                self._got[names] = (time.monotonic(), public, private)
                _log.info("got the key pair %s, %s", names.public, names.private)
        host, colon, _ = place.partition("/")[0].partition(":")
        scheme = "" if names.secure is None else "https://" if names.secure else "http://"
        endpoint = f"{scheme}{place.partition('/')[0]}" if scheme and (colon or "." in host) else ""
        return S3Keys(public, private, endpoint=endpoint, origin=f"key pair {names.public}")


def _place(url: str) -> str:
    return url.partition("://")[2].strip("/") if "://" in url else url.strip("/")


def _below(place: str, prefix: str) -> bool:
    return place == prefix or place.startswith(prefix + "/")
