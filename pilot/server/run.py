"""Running the server in this process until it is told to end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import ssl
import sys
import time
from collections.abc import Callable, Generator
from pathlib import Path

import msgspec
import uvicorn

from pilot.server.app import build
from pilot.server.certificates import context
from pilot.server.connection import Connection
from pilot.server.credentials import Credentials
from pilot.server.faults import Faults, Rule
from pilot.server.jobserver import JobServer
from pilot.server.limits import Limits
from pilot.server.refusal import StoreError, Unusable
from pilot.server.store import Store
from pilot.server.watch import watch

_BACKLOG = 2048


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How to serve: port 0 takes a free one; `end_with_stdin` ends when whoever holds the other end is gone."""

    db: Path
    host: str = "127.0.0.1"
    port: int = 0
    dialect: str = "both"
    durable: bool = False
    end_with_stdin: bool = False
    limits: Limits = Limits()
    faults: tuple[Rule, ...] = ()
    cache: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    client_ca: Path | None = None
    credentials: Credentials | None = None


class _Quiet(uvicorn.Server):
    """Ends when `ending` is set, without looking at it ten times a second, and leaves signals to its caller."""

    def __init__(self, config: uvicorn.Config, ending: asyncio.Event) -> None:
        super().__init__(config)
        self._ending = ending

    async def main_loop(self) -> None:
        await self._ending.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # A client that keeps an idle TLS connection open would hold up the end until it says goodbye, too.
        for connection in list(self.server_state.connections):
            if isinstance(connection, Connection) and connection.is_idle:
                connection.transport.abort()
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


def serve(options: Options, ready: Callable[[str], None]) -> None:
    """Serves until SIGTERM or SIGINT; `ready` is called with the URL once requests are answered.

    Raises `Unusable` for an address that cannot be bound, a database or certificates that cannot be used.
    """
    tls = _tls(options)
    with contextlib.closing(_bound(options)) as listener, contextlib.closing(_opened(options)) as store:
        asyncio.run(_serve(options, listener, store, tls, ready))


def _tls(options: Options) -> ssl.SSLContext | None:
    if options.tls_cert is None:
        return None
    try:
        return context(options.tls_cert, options.tls_key, options.client_ca)
    except OSError as error:
        raise Unusable("--tls-cert", f"cannot use the certificates: {error}") from error


def _opened(options: Options) -> Store:
    try:
        return Store(options.db, durable=options.durable)
    except StoreError as error:
        raise Unusable("--db", str(error)) from error


def _bound(options: Options) -> socket.socket:
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    # asyncio sends small answers at once (TCP_NODELAY) only on sockets that name their protocol.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((options.host, options.port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        message = f"cannot listen on {options.host} port {options.port}: {error.strerror}"
        raise Unusable("--host" if isinstance(error, socket.gaierror) else "--port", message) from error
    return listener


async def _serve(
    options: Options, listener: socket.socket, store: Store, tls: ssl.SSLContext | None, ready: Callable[[str], None]
) -> None:
    ending = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ending.set)
    if options.end_with_stdin:
        loop.add_reader(sys.stdin.fileno(), _read_on, ending)
    server = JobServer(store, time.time, options.limits, options.credentials)
    watching = asyncio.create_task(watch(server))
    config = _config(options, server, Faults(options.faults, ending))
    config.ssl = tls
    web = _Quiet(config, ending)
    serving = asyncio.create_task(web.serve(sockets=[listener]))
    ready(_url(options, listener.getsockname()[1]))
    await serving
    watching.cancel()
    store.close()


def _read_on(ending: asyncio.Event) -> None:
    if not os.read(sys.stdin.fileno(), 4096):
        ending.set()
        asyncio.get_running_loop().remove_reader(sys.stdin.fileno())


def _config(options: Options, server: JobServer, faults: Faults) -> uvicorn.Config:
    app = build(server, faults, dialect=options.dialect, client_ca=options.client_ca is not None, cache=options.cache)
    config = uvicorn.Config(
        app, http=Connection, ws="none", lifespan="off", loop="asyncio", log_config=None, access_log=False,
        date_header=False, server_header=False, proxy_headers=False, timeout_graceful_shutdown=1,
        timeout_keep_alive=75,
    )  # fmt: skip
    config.load()
    return config


def _url(options: Options, port: int) -> str:
    shown = f"[{options.host}]" if ":" in options.host else options.host
    return f"{'https' if options.tls_cert else 'http'}://{shown}:{port}"
