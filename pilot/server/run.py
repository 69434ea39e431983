"""Running the server in this process until it is told to end."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import time
from collections.abc import Callable, Generator
from pathlib import Path

import msgspec
import uvicorn

from pilot.server.app import build
from pilot.server.jobserver import JobServer
from pilot.server.store import Store

_BACKLOG = 2048


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How to serve: port 0 takes a free one."""

    db: Path
    host: str = "127.0.0.1"
    port: int = 0
    dialect: str = "both"
    durable: bool = False


class _Quiet(uvicorn.Server):
    """Ends when `ending` is set, without looking at it ten times a second, and leaves signals to its caller."""

    def __init__(self, config: uvicorn.Config, ending: asyncio.Event) -> None:
        super().__init__(config)
        self._ending = ending

    async def main_loop(self) -> None:
        await self._ending.wait()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


def serve(options: Options, ready: Callable[[str], None]) -> None:
    """Serves until SIGTERM or SIGINT; `ready` is called with the URL once requests are answered.

    Raises `OSError` if the address cannot be bound and `StoreError` if the database cannot be used.
    """
    with (
        contextlib.closing(_bound(options)) as listener,
        contextlib.closing(Store(options.db, durable=options.durable)) as store,
    ):
        asyncio.run(_serve(options, listener, store, ready))


def _bound(options: Options) -> socket.socket:
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((options.host, options.port))
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


async def _serve(options: Options, listener: socket.socket, store: Store, ready: Callable[[str], None]) -> None:
    ending = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ending.set)
    app = build(JobServer(store, time.time), options.dialect)
    config = uvicorn.Config(
        app, http="httptools", ws="none", lifespan="off", loop="asyncio", log_config=None, access_log=False,
        date_header=False, server_header=False, timeout_graceful_shutdown=1, timeout_keep_alive=75,
    )  # fmt: skip
    server = _Quiet(config, ending)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    ready(_url(options.host, listener.getsockname()[1]))
    await serving
    store.close()


def _url(host: str, port: int) -> str:
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}"
