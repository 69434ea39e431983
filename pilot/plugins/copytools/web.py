"""Asking web servers: the pool, the credentials and the proxies of one tool, with all errors as faults."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from types import TracebackType

import msgspec

from pilot.core.staging import ToolSettings
from pilot.lib.cancel import Cancel
from pilot.lib.httpanswer import Answer, ProtocolError
from pilot.lib.httpfile import Body, exchange
from pilot.lib.httppool import BadTls, Origin, Pool, Tls
from pilot.plugins.copytools.base import Fault, Move, Moved, ToolError, Watch
from pilot.plugins.copytools.webstored import stored_headers
from pilot.plugins.copytools.webwords import (
    connection_fault,
    goes_direct,
    quoted,
    read_token,
    route,
    usable_certificate,
)


class Web:
    """Exchanges over kept connections. Threads: any. `secrets` False sends neither token nor certificate."""

    def __init__(self, settings: ToolSettings, secrets: bool = True) -> None:
        self.settings = settings
        self._secrets = secrets
        tls = Tls(settings.ca_path, settings.proxy_file if secrets else "", settings.verify_tls)
        self._pool = Pool(tls, settings.connect_s, self._via)
        #: Where a token is shown because the certificate is of no use.
        self._unproven = Pool(msgspec.structs.replace(tls, certificate=""), settings.connect_s, self._via)
        self._proxies = route(settings)
        self._stored: dict[str, dict[str, str]] = {}

    def _via(self, origin: Origin) -> Origin | None:
        if goes_direct(origin.host, self.settings.environment):
            return None
        return next((proxy for proxy in self._proxies if proxy.host != origin.host), None)

    def asking(
        self,
        method: str,
        url: str,
        cancel: Cancel,
        watch: Watch | None = None,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
    ) -> Exchange:
        """The exchange as a context that gives the `Answer`. Raises `ToolError` and nothing else of its own."""
        secret, own, pool = None, None, self._pool
        if self._secrets:
            server = "/".join(url.split("/", 3)[:3])
            own = self._stored.get(server)
            if own is None:
                own = self._stored[server] = stored_headers(self.settings, server)
            token = read_token(self.settings, url)
            secret = {"Authorization": f"Bearer {token}"} if token else None
            try:
                usable_certificate(self.settings, url)
            except ToolError:
                if not token:
                    raise
                pool = self._unproven
        if headers and "Authorization" in headers:  # for the place that was asked alone, wherever it may send us
            secret = {"Authorization": headers["Authorization"]}
            headers = {name: value for name, value in headers.items() if name != "Authorization"}
            own = None
        stall_s = min(watch.stall_s, watch.seconds_left) if watch else self.settings.stall_s
        begin = partial(
            exchange,
            pool,
            method,
            quoted(url),
            headers or {},
            cancel=cancel,
            stall_s=stall_s,
            body=body,
            secret=secret,
            own=own,
        )
        return Exchange(self, url, begin)

    def direct(self) -> bool:
        """Give the proxies up; whether there were any."""
        had, self._proxies = bool(self._proxies), ()
        return had

    def close(self) -> None:
        """Close all kept connections."""
        self._pool.close()
        self._unproven.close()


def move_each(moves: Sequence[Move], watch: Watch, one: Callable[[Move], Moved]) -> Iterator[Moved]:
    """The moves in order by `one`, which raises `ToolError` for a file that fails.

    No connection ends the whole: the files after it would fail the same way.
    """
    for move in moves:
        watch.begin(move)
        try:
            moved = one(move)
        except ToolError as error:
            if watch.cancel.is_set():
                raise ToolError(Fault.CANCELLED) from error
            if error.fault is Fault.NETWORK and len(moves) > 1:
                raise
            moved = Moved(fault=error.fault, detail=error.detail, wait_s=error.wait_s)
        yield moved


class Exchange:
    """`exchange` with its errors as faults, and a second way when a proxy cannot be reached."""

    def __init__(self, web: Web, url: str, begin: Callable[[], AbstractContextManager[Answer]]) -> None:
        self._web = web
        self._url = url
        self._begin = begin
        self._open = begin()

    def __enter__(self) -> Answer:
        try:
            return self._open.__enter__()
        except (OSError, ProtocolError) as error:
            if isinstance(error, OSError) and not isinstance(error, (ssl.SSLError, BadTls)) and self._web.direct():
                self._open = self._begin()
                return self.__enter__()
            raise connection_fault(error, self._url, started=False) from error
        except ValueError as error:  # after those of TLS, some of which are one as well
            raise ToolError(Fault.UNSUPPORTED, str(error)) from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.__exit__(kind, error, trace)
