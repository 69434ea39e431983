"""The pilot's own credentials: found, checked, copied to where only the pilot can read them, and renewed in time."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pilot.core.errors import Failure
from pilot.core.settings import Settings
from pilot.lib.redact import Redactor

Look = Callable[[], tuple[float, Failure | None]]
_FOLDER = ".credentials"


def with_credentials(
    settings: Settings, workdir: Path, environ: Mapping[str, str], redactor: Redactor, panda: Callable[[Settings], Any]
) -> tuple[Settings, Look | None]:
    """The settings with the pilot's own copies in place of what was found, and how they are looked after.

    `panda` makes the settings of the server that renews them. Raises `NoProxy`, `CertificateHasExpired` or
    `ProxyTooShort`.
    """
    from pilot.core.credentials import Kind, find
    from pilot.core.errors import NoProxy
    from pilot.lib.certificate import voms_role

    place = find(environ, os.getuid(), os.path.exists)
    secure = not settings.url.startswith("http://")
    proxy = settings.proxy or (place.proxy if secure else "")
    token = settings.token_file or place.token
    settings = replace(
        settings,
        capath=settings.capath or place.ca_path,
        token_origin=settings.token_origin or place.origin,
        proxy=proxy,
        token_file=token,
    )
    if not proxy and not token:
        return settings, None
    from pilot.plugins.sources.panda_credentials import CredentialWatch, Kept, PandaCredentials

    home = workdir / _FOLDER
    own = replace(settings, proxy=str(home / "proxy") if proxy else "", token_file=str(home / "token") if token else "")
    server = PandaCredentials(panda(own))

    def fetch_token() -> str:
        try:
            key = Path(place.token_key).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise NoProxy(f"the key of the token cannot be read ({error})") from error
        return server.access_token(key)

    def fetch_proxy() -> str:
        """With the role that the present one has: without it the server takes no reports."""
        return server.proxy(voms_role(str(home / "proxy")))

    kept = []
    if proxy and settings.proxy_check:
        kept.append(Kept(Kind.PROXY, Path(proxy), home / "proxy", fetch_proxy))
    elif proxy:
        own = replace(own, proxy=proxy)
    if token:
        renews = settings.token_renewal and bool(place.token_key)
        kept.append(Kept(Kind.TOKEN, Path(token), home / "token", fetch_token if renews else None))
    watch = CredentialWatch(kept, redactor)
    watch.begin(settings.proxy_least)

    def look() -> tuple[float, Failure | None]:
        found = watch.look()
        return found.next_s, found.failure

    return own, look
