"""Credentials that a PanDA server gives (protocol.md 1.8), and the watch over those that the pilot has."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from pilot.core.credentials import Kind, Schedule, Step, next_step, token_end
from pilot.core.errors import (
    CertificateHasExpired,
    Failure,
    NoProxy,
    PilotError,
    ProxyTooShort,
    VomsProxyAboutToExpire,
)
from pilot.lib.certificate import not_after, roles_end, voms_role
from pilot.lib.credentials import BadCredential, check_private
from pilot.lib.redact import Redactor
from pilot.plugins.sources.dialect import CredentialKind
from pilot.plugins.sources.panda_server import PandaServer, Tongue
from pilot.plugins.sources.panda_settings import PandaSettings

_log = logging.getLogger("pilot.credentials")
_CLIENT = "pilot_server"


class PandaCredentials:
    """Fetches credentials. Everything it returns is secret: hand it to the redactor before anything else."""

    def __init__(self, settings: PandaSettings, tongue: Tongue | None = None) -> None:
        self._server = PandaServer(settings, tongue)

    def proxy(self, role: str = "", dn: str = "") -> str:
        """A proxy as PEM text."""
        parameters = {key: value for key, value in {"role": role, "dn": dn}.items() if value}
        return self._get(CredentialKind("getProxy", parameters, (("user_proxy", "userProxy"),)))[0]

    def key_pair(self, public_name: str, private_name: str) -> tuple[str, str]:
        """Public and private key of an object store, by the names in the storage's settings."""
        parameters = {"publicKeyName": public_name, "privateKeyName": private_name}
        wanted = (("public_key", "publicKey"), ("private_key", "privateKey"))
        public, private = self._get(CredentialKind("getKeyPair", parameters, wanted))
        return public, private

    def access_token(self, token_key: str) -> str:
        """A fresh access token for the pilot's server, against the key that belongs to it."""
        parameters = {"client_name": _CLIENT, "token_key": token_key}
        return self._get(CredentialKind("get_access_token", parameters, (("user_proxy", "userProxy"),)))[0]

    def token_key(self) -> str:
        """The key against which tokens are given."""
        return self._get(CredentialKind("get_token_key", {"client_name": _CLIENT}, (("tokenKey", "token_key"),)))[0]

    def _get(self, kind: CredentialKind) -> tuple[str, ...]:
        dialect = self._server.dialect
        return dialect.read_credential(self._server.call(dialect.credential(kind)), kind)

    def close(self) -> None:
        """Let go of the connection."""
        self._server.close()


class Kept(msgspec.Struct, frozen=True):
    """A credential that is watched: the file that the pilot was given and its own copy of it, which it may renew.

    `fetch` gets a new one; None for a credential that only somebody else renews.
    """

    kind: Kind
    given: Path
    own: Path
    fetch: Callable[[], str] | None = None


class Look(msgspec.Struct, frozen=True):
    """What a look at the credentials found. `failure`: one is about to end, or has, and was not renewed."""

    next_s: float
    renewed: tuple[Kind, ...] = ()
    failure: Failure | None = None


class _Unfit(Exception):
    """A credential that is no good in the place of the present one."""


class CredentialWatch:
    """Watches over the pilot's credentials. `begin` once, then `look` whenever its last answer says so, in any thread.

    The pilot works with its own copies (mode 0600): what somebody renews beside it is taken over, what the server
    renews is written there and nowhere else. What cannot be used is never put in the place of what can.
    """

    def __init__(self, kept: list[Kept], redactor: Redactor, rules: Schedule | None = None) -> None:
        self._kept, self._redactor, self._rules = kept, redactor, rules or Schedule()
        self._got_at: dict[Path, float] = {}
        self._given: dict[Path, str] = {}
        self._fetched: set[Path] = set()
        self._said: dict[Path, str] = {}

    def begin(self, least_s: float = 0.0) -> None:
        """Take the copies. Raises `NoProxy`, `CertificateHasExpired` or, below `least_s`, `ProxyTooShort`."""
        for kept in self._kept:
            self._take(kept)
            left = self._left(kept)
            if left is not None and 0 < left < least_s and self._renew(kept):
                left = self._left(kept)
            if left is not None and left <= 0:
                raise CertificateHasExpired(f"the {kept.kind} in {kept.given} ended {-left:.0f} s ago")
            if left is not None and left < least_s:
                raise ProxyTooShort(f"the {kept.kind} in {kept.given} lasts {left:.0f} s, {least_s:.0f} s are needed")

    def look(self) -> Look:
        """Renew what is due. Nothing is raised: what could not be renewed is told when it matters."""
        next_s, renewed, failure = self._rules.most_s, [], None
        for kept in self._kept:
            self._take_over(kept)
            step, wait_s = self._step(kept)
            if step is not Step.KEEP and self._renew(kept):
                renewed.append(kept.kind)
                step, wait_s = self._step(kept)
            elif step is Step.EXPIRED:
                failure = CertificateHasExpired(f"the {kept.kind} in {kept.given}").failure()
            elif step is Step.RENEW and (left := self._left(kept)) is not None and left < 2 * self._rules.least_s:
                failure = VomsProxyAboutToExpire(f"the {kept.kind} in {kept.given} lasts {left:.0f} s more").failure()
            next_s = min(next_s, wait_s)
        return Look(next_s, tuple(renewed), failure)

    def _step(self, kept: Kept) -> tuple[Step, float]:
        return next_step(
            kept.kind,
            end_of(kept.kind, kept.own),
            self._got_at.get(kept.own, 0.0),
            time.time(),
            self._rules,
            fetched=kept.own in self._fetched,
            roles_end_at=_roles_end(kept),
        )

    def _left(self, kept: Kept) -> float | None:
        ends_at = end_of(kept.kind, kept.own)
        return None if ends_at is None else ends_at - time.time()

    def _take(self, kept: Kept) -> None:
        text = self._read(kept)
        try:
            check_private(str(kept.given))
        except BadCredential as error:
            self._say(kept, f"the {kept.kind} in {error}; this pilot goes on with a copy that only it can read")
        self._given[kept.own] = text
        self._keep(kept, text)

    def _read(self, kept: Kept) -> str:
        try:
            return kept.given.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise NoProxy(f"the {kept.kind} {kept.given} cannot be read ({error})") from error

    def _take_over(self, kept: Kept) -> None:
        """Take what somebody else has put in the place of what was given, unless it is half-written or has ended."""
        try:
            text = self._read(kept)
            if text == self._given.get(kept.own):
                return
            self._put(kept, text, "what is there now")
        except (PilotError, _Unfit) as error:
            self._say(kept, f"the {kept.kind} in {kept.given} is not taken over: {error}")
            return
        self._given[kept.own] = text
        self._fetched.discard(kept.own)
        _log.info("the %s in %s was renewed by somebody else", kept.kind, kept.given)

    def _renew(self, kept: Kept) -> bool:
        if kept.fetch is None:
            return False
        try:
            self._put(kept, kept.fetch(), "what the server gives", newer=True)
        except (PilotError, _Unfit) as error:
            self._say(kept, f"the {kept.kind} was not renewed: {error}")
            return False
        self._fetched.add(kept.own)
        _log.info("the %s was renewed", kept.kind)
        return True

    def _say(self, kept: Kept, words: str) -> None:
        """Warn, once until there is something else to tell."""
        if self._said.get(kept.own) != words:
            self._said[kept.own] = words
            _log.warning("%s", words)

    def _put(self, kept: Kept, text: str, what: str, newer: bool = False) -> None:
        """Keep the text if it can be used and, where it has to be `newer`, lasts longer. Raises `_Unfit` if not."""
        self._redactor.add([text])
        part = kept.own.with_name(f".{kept.own.name}.new")
        self._write(part, text)
        try:
            end, old = end_of(kept.kind, part), end_of(kept.kind, kept.own)
            if not usable(kept.kind, text) or (end is not None and end <= time.time()):
                raise _Unfit(f"{what} cannot be used, or has ended")
            if newer and (text == kept.own.read_text(encoding="utf-8") or (old and end and end <= old)):
                raise _Unfit(f"{what} lasts no longer than the present one")
            if newer and kept.kind is Kind.PROXY and (role := _role(kept.own)) != "" and _role(part) != role:
                raise _Unfit(f"{what} lacks the role {role}")
        finally:
            part.unlink(missing_ok=True)
        self._keep(kept, text)

    def _keep(self, kept: Kept, text: str) -> None:
        """Write the own copy, whole or not at all; nobody else may ever read it."""
        self._redactor.add([text])
        part = kept.own.with_name(f".{kept.own.name}.part")
        self._write(part, text)
        try:
            part.replace(kept.own)
        except OSError as error:
            raise NoProxy(f"{kept.own} cannot be written ({error.strerror})") from error
        self._got_at[kept.own] = time.time()
        self._said.pop(kept.own, None)

    def _write(self, path: Path, text: str) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            path.unlink(missing_ok=True)
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(fd, "w", encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            raise NoProxy(f"{path} cannot be written ({error.strerror})") from error


def usable(kind: Kind, text: str) -> bool:
    """Whether this looks like a credential: a proxy with its key, or one word."""
    if kind is Kind.PROXY:
        return "-----BEGIN CERTIFICATE-----" in text and "PRIVATE KEY-----" in text
    word = text.strip()
    return word.isascii() and len(word.split()) == 1


def end_of(kind: Kind, path: Path) -> float | None:
    """When a credential ends; None when it does not tell. A proxy without a certificate has ended."""
    try:
        if kind is Kind.TOKEN:
            return token_end(path.read_text(encoding="utf-8"))
        return not_after(str(path))
    except (OSError, ValueError):  # also text that is none
        return 0.0


def _roles_end(kept: Kept) -> float | None:
    try:
        return roles_end(str(kept.own)) if kept.kind is Kind.PROXY else None
    except (OSError, ValueError):
        return None


def _role(path: Path) -> str:
    try:
        return voms_role(str(path))
    except (OSError, ValueError):
        return ""
