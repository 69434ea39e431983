"""Servers that take a connection and do no good: they close it, say nothing, or talk nonsense."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

KINDS = ("closing", "silent", "nonsense")


@contextlib.contextmanager
def rude(kind: str) -> Iterator[int]:
    """Its port on loopback, until the block ends."""
    listener = socket.create_server(("127.0.0.1", 0))
    kept: list[socket.socket] = []

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = listener.accept()
                if kind == "closing":
                    sock.close()
                    continue
                kept.append(sock)
                if kind == "nonsense":
                    with contextlib.suppress(OSError):
                        sock.sendall(b"\0\1nonsense\r\n\r\n" * 50)
                        sock.shutdown(socket.SHUT_WR)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
        for sock in kept:
            sock.close()
