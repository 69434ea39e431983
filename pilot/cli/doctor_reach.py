"""What `pilot doctor` looks at outside the node: credentials and the job server."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from pathlib import Path

from pilot.cli.finding import Finding, fail, fine, warn
from pilot.core.errors import PilotError
from pilot.lib.http import Connection, HttpSettings, Reply

#: A proxy that ends earlier than this may end before its job does (protocol.md section 9).
_GOOD_PROXY_H, _LEAST_PROXY_H = 72.0, 1.0
#: Clocks that differ by more than this make certificates and tokens look expired, or not yet valid.
_GOOD_CLOCK_S, _WORST_CLOCK_S = 5.0, 300.0


def credentials(env: Mapping[str, str]) -> list[Finding]:
    """The proxy and the token that a pilot would use here."""
    from pilot.core.credentials import find

    place = find(env, os.getuid(), os.path.exists)
    found = []
    if place.proxy:
        found.append(_proxy(place.proxy))
    if place.token:
        found.append(_token(place.token))
    return found or [
        warn(
            "credential", "no proxy and no token", "a server with TLS asks for one: X509_USER_PROXY or PANDA_AUTH_TOKEN"
        )
    ]


def _proxy(path: str) -> Finding:
    from pilot.lib.certificate import not_after
    from pilot.lib.credentials import BadCredential, check_private

    try:
        hours = (not_after(check_private(path)) - time.time()) / 3600
    except (OSError, ValueError, BadCredential) as error:
        return fail("proxy", str(error), "make a new one")
    return _lasting("proxy", f"{path}: {hours:.1f} h left", hours)


def _token(path: str) -> Finding:
    from pilot.core.credentials import token_end
    from pilot.lib.credentials import BadCredential, check_private

    try:
        end = token_end(Path(check_private(path)).read_text(encoding="utf-8"))
    except (OSError, ValueError, BadCredential) as error:
        return fail("token", str(error), "get a new one")
    if end is None:
        return warn("token", f"{path} does not tell its end", "it cannot be renewed in time")
    minutes = (end - time.time()) / 60
    if minutes <= 0:
        return fail("token", f"{path} ended {-minutes:.0f} minutes ago", "get a new one")
    return fine("token", f"{path}: {minutes:.0f} minutes left")


def _lasting(name: str, said: str, hours: float) -> Finding:
    if hours < _LEAST_PROXY_H:
        return fail(name, said, "make a new one")
    if hours < _GOOD_PROXY_H:
        return warn(name, said, f"long jobs may outlive it: {_GOOD_PROXY_H:.0f} h are advised")
    return fine(name, said)


def server(url: str, env: Mapping[str, str], ca_file: str, ca_path: str) -> list[Finding]:
    """Whether the job server answers, in which dialect, and whether its clock agrees with ours."""
    from pilot.core.credentials import find

    place = find(env, os.getuid(), os.path.exists)
    client = place.proxy if url.startswith("https://") else ""
    connection = Connection(HttpSettings(ca_file=ca_file, ca_path=ca_path, client_cert=client, total_s=30.0))
    base = url.rstrip("/")
    try:
        before = time.time()
        reply = connection.exchange("GET", f"{base}/api/v1/system/is_alive")
        middle = (before + time.time()) / 2
        found = [_dialect(url, reply, connection)]
    except PilotError as error:
        return [fail("server", str(error), "check the URL, the network and the server's certificate")]
    return [*found, _clock(reply, middle)]


def _dialect(url: str, reply: Reply, connection: Connection) -> Finding:
    if reply.status == 200 and _says_success(reply.body):
        return fine("server", f"{url} answers in the v1 dialect")
    older = connection.exchange("GET", f"{url.rstrip('/')}/server/panda/isAlive")
    if older.status == 200 and "alive" in older.text().lower():
        return fine("server", f"{url} answers in the classic dialect")
    return fail("server", f"{url} answers {reply.status} {reply.text(80)}", "it is not a job server: check the URL")


def _says_success(body: bytes) -> bool:
    try:
        answer = json.loads(body)
    except ValueError:
        return False
    return isinstance(answer, dict) and answer.get("success") is True


def _clock(reply: Reply, middle: float) -> Finding:
    """The `Date` header has whole seconds: what is within one is the same."""
    try:
        told = parsedate_to_datetime(reply.headers["date"]).timestamp()
    except (KeyError, ValueError, TypeError):
        return warn("clock", "the server does not tell the time", "compare by hand: `date -u`")
    apart = middle - told - 0.5
    said = f"{abs(apart):.0f} s {'ahead of' if apart > 0 else 'behind'} the server" if abs(apart) >= 1 else "in step"
    if abs(apart) > _WORST_CLOCK_S:
        return fail("clock", said, "set the clock (chrony, ntpd): credentials will be refused")
    if abs(apart) > _GOOD_CLOCK_S:
        return warn("clock", said, "set the clock (chrony, ntpd)")
    return fine("clock", said)
