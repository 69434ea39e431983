"""A web server on loopback that answers each request with the bytes that a test has written for it."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

#: What is sent for the nth request (from 1 on) of a method, which had these headers; b"" hangs up.
Answer = Callable[[str, int, Mapping[str, str]], bytes]


def reply(status: str, body: bytes = b"", *headers: str, length: int | None = None) -> bytes:
    """An answer as it goes over the wire; `length` is what it announces, where that is a lie."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}", *headers]
    return "\r\n".join((*lines, "", "")).encode() + body


@dataclass
class Liar:
    """`asked` holds the method and the headers (names in lower case) of every request; `stored` what was put."""

    url: str = ""
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    stored: list[bytes] = field(default_factory=list)

    @property
    def methods(self) -> list[str]:
        return [method for method, _ in self.asked]


@contextlib.contextmanager
def lying(answer: Answer, tls: ssl.SSLContext | None = None, reset: bool = False) -> Iterator[Liar]:
    """Serve until the block ends; each answer is the last of its connection. `reset` cuts uploads off in the middle."""
    listener = socket.create_server(("127.0.0.1", 0))
    liar = Liar(f"{'https' if tls else 'http'}://127.0.0.1:{listener.getsockname()[1]}/f")
    threads: list[threading.Thread] = []

    def serve_one(sock: socket.socket) -> None:
        with contextlib.suppress(OSError), sock:
            sock.settimeout(30)
            with tls.wrap_socket(sock, server_side=True) if tls else sock as wire, wire.makefile("rb") as stream:
                method = stream.readline().split(b" ")[0].decode()
                headers = {}
                while line := stream.readline().strip():
                    name, _, value = line.decode("latin-1").partition(":")
                    headers[name.lower()] = value.strip()
                liar.asked.append((method, headers))
                number = liar.methods.count(method)
                if method == "PUT":
                    if "expect" in headers:
                        wire.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
                    if reset:
                        stream.read(1000)
                        wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                        return
                    liar.stored.append(stream.read(int(headers["content-length"])))
                wire.sendall(answer(method, number, headers))

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = listener.accept()
                thread = threading.Thread(target=serve_one, args=(sock,), daemon=True)
                thread.start()
                threads.append(thread)

    server = threading.Thread(target=serve, daemon=True)
    server.start()
    try:
        yield liar
    finally:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        server.join()
        for thread in threads:
            thread.join()
