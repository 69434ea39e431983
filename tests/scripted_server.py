"""A real HTTP server on loopback whose answers a test writes: one function for each path."""

from __future__ import annotations

import gzip
import json
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass
class Asked:
    """A request as it came."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes
    client: tuple[str, int]

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    def form(self) -> dict[str, str]:
        """The body as form fields."""
        return {name: values[-1] for name, values in parse_qs(self.body.decode(), keep_blank_values=True).items()}


Answerer = Callable[[Asked], Any]


@dataclass
class Scripted:
    """Routes by path; an answer is a JSON value, text, bytes, or a pair of a status and one of these."""

    routes: dict[str, Answerer] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    url: str = ""
    #: Bytes that are sent as they are instead of an answer, once each; then the connection is closed.
    raw: list[bytes] = field(default_factory=list)

    def paths(self) -> list[str]:
        """The paths that were asked for, in order."""
        return [request.path for request in self.asked]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    script: Scripted

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        if headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        parts = urlsplit(self.path)
        asked = Asked(self.command, parts.path, parse_qs(parts.query), headers, body, self.client_address)
        self.script.asked.append(asked)
        if self.script.raw:
            self.wfile.write(self.script.raw.pop(0))
            self.close_connection = True
            return
        route = self.script.routes.get(parts.path)
        self._send(route(asked) if route else (404, "no such path"))

    def _send(self, answer: Any) -> None:
        status, content = answer if isinstance(answer, tuple) else (200, answer)
        if not isinstance(content, bytes):
            content = (content if isinstance(content, str) else json.dumps(content)).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = _serve

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


class Server:
    """Serves a script until `close`; with `tls` over TLS."""

    def __init__(self, script: Scripted, tls: ssl.SSLContext | None = None) -> None:
        handler = type("Handler", (_Handler,), {"script": script})
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._http.daemon_threads = True
        if tls:
            self._http.socket = tls.wrap_socket(self._http.socket, server_side=True)
        script.url = f"http{'s' if tls else ''}://127.0.0.1:{self._http.server_address[1]}"
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the server and its thread."""
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()
