"""A PanDA server over HTTP: one connection, its identity, and which dialect it speaks."""

from __future__ import annotations

import os
import threading

import msgspec

from pilot.core.errors import CommunicationFailure, NoProxy, PilotError, RequestRefused
from pilot.lib.http import Connection, HttpSettings, Reply
from pilot.plugins.sources.dialect import Call, Dialect
from pilot.plugins.sources.panda_settings import DialectName, PandaSettings

_V1_PROBE, _CLASSIC_PROBE = "/api/v1/system/is_alive", "/server/panda/isAlive"
_SHUT = (401, 403)
#: A probe of a server that is alive is answered at once.
_PROBE_S = 30.0


def dialect_of(name: DialectName) -> Dialect:
    """The dialect of this name; only the one that is spoken is imported."""
    if name is DialectName.V1:
        from pilot.plugins.sources.v1 import V1

        return V1()
    from pilot.plugins.sources.classic import Classic

    return Classic()


class Tongue:
    """Which dialect a server speaks: forced by the settings, or probed once for all connections of a pilot."""

    def __init__(self, name: DialectName) -> None:
        self._known = None if name is DialectName.AUTO else dialect_of(name)
        self._lock = threading.Lock()

    def dialect(self, server: PandaServer) -> Dialect:
        """The dialect. Raises `CommunicationFailure` while the server answers neither probe."""
        with self._lock:
            if self._known is None:
                self._known = dialect_of(server.probe())
            return self._known


class PandaServer:
    """One connection to the server. Calls take turns; for calls at the same time use one of these each."""

    def __init__(self, settings: PandaSettings, tongue: Tongue | None = None) -> None:
        self.settings = settings
        self._tongue = tongue or Tongue(settings.dialect)
        # Wrappers name the proxy itself in --cacert: a file with a private key is who we are, not whom we trust.
        own = settings.ca_file if _has_key(settings.ca_file) else ""
        with_token = bool(settings.token_file)
        self._connection = Connection(
            HttpSettings(
                ca_file="" if own else settings.ca_file,
                ca_path=settings.ca_path,
                client_cert="" if with_token else settings.proxy or own,
                client_key="" if with_token else settings.proxy_key,
                via=settings.via,
                connect_s=settings.connect_s,
                silence_s=settings.answer_s,
                total_s=settings.answer_s,
                user_agent=settings.user_agent,
            )
        )
        self._token = ("", "")

    @property
    def dialect(self) -> Dialect:
        """The server's dialect, probed on first use."""
        return self._tongue.dialect(self)

    def call(self, call: Call) -> bytes:
        """Make the call and return the body of a good answer.

        Raises `CommunicationFailure` for no answer or a broken one (retry) and `RequestRefused` for a refusal.
        """
        reply = self.exchange(call)
        if reply.status != 200:
            raise refusal(call, reply)
        return reply.body

    def exchange(self, call: Call, read_s: float | None = None) -> Reply:
        """Make the call and return the answer whatever its status."""
        headers = {**call.headers, **self._identity()}
        return self._connection.exchange(call.method, self.settings.base + call.path, call.body, headers, read_s)

    def probe(self) -> DialectName:
        """Ask the server which dialect it speaks (protocol.md 1.1)."""
        modern = self.exchange(Call("GET", _V1_PROBE, None, {"Accept": "application/json"}), _PROBE_S)
        if modern.status == 200 and _says_success(modern.body):
            return DialectName.V1
        if modern.status in (502, 503, 504):
            raise refusal(Call("GET", _V1_PROBE), modern)
        old = self.exchange(Call("GET", _CLASSIC_PROBE, None, {"Accept": "application/json"}), _PROBE_S)
        if old.status == 200 and b"alive" in old.body.lower():
            return DialectName.CLASSIC
        # Servers judge a token before anything else; an unknown method is "forbidden" as well.
        if old.status in _SHUT or (modern.status in _SHUT and b"forbidden" not in modern.body):
            raise RequestRefused(f"{self.settings.base} takes no call of ours: {(modern.text(80), old.text(80))}")
        raise CommunicationFailure(
            f"{self.settings.base} is no PanDA server in working order: {_V1_PROBE} gave {modern.status} "
            f"({modern.text(80)}), {_CLASSIC_PROBE} gave {old.status} ({old.text(80)})"
        )

    def close(self) -> None:
        """Let go of the connection."""
        self._connection.close()

    def _identity(self) -> dict[str, str]:
        """The headers that say who asks. The token file is read again when it has changed: tokens are renewed."""
        path = self.settings.token_file
        if not path:
            return {}
        try:
            stamp = str(os.stat(path).st_mtime_ns)
            if stamp != self._token[0]:
                with open(path, encoding="utf-8") as file:
                    self._token = (stamp, file.read().strip())
        except (OSError, UnicodeDecodeError) as error:
            raise NoProxy(f"the token file {path} cannot be read ({error})") from error
        if not self._token[1] or not self._token[1].isascii() or any(c.isspace() for c in self._token[1]):
            raise NoProxy(f"{path} holds no token")
        origin = {"Origin": self.settings.origin} if self.settings.origin else {}
        return {"Authorization": f"Bearer {self._token[1]}", **origin}


def refusal(call: Call, reply: Reply) -> PilotError:
    """The error for an answer with another status than 200."""
    text = f"{call.path.partition('?')[0]} was answered with status {reply.status}: {reply.text()}"
    lasting = 400 <= reply.status < 500 and reply.status not in (408, 425, 429)
    return RequestRefused(text) if lasting else CommunicationFailure(text)


def _has_key(path: str) -> bool:
    """Whether a PEM file holds a private key. One that cannot be read is told by whoever needs it."""
    try:
        with open(path, "rb") as file:
            return b"PRIVATE KEY-----" in file.read(1 << 20)
    except OSError:
        return False


def _says_success(body: bytes) -> bool:
    try:
        answer = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return isinstance(answer, dict) and answer.get("success") is True
