"""A web server on loopback that keeps connections, stores what is put, and misbehaves where it is told to.

The first part of a path may name a fault: `/cut/`, `/stall/`, `/slow/`, `/lie/`, `/other/`, `/500/`, `/503-once/`,
`/403/`, `/401/`, `/full/`, `/redirect/`, `/loop/`, `/away/`, `/drop/`,
`/drop-once/`, `/garbage/`; the rest is the name of the file.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

FAULTS = (
    "cut stall slow lie other 500 503-once 403 401 full redirect loop away drop drop-once garbage "
    "short-once norange secret damage stall-once"
)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: WebServer

    def handle_expect_100(self) -> bool:
        return True

    def body(self, length: int) -> bytes:
        """The request's body, asked for only now if the client waits for that."""
        if self.headers.get("Expect"):
            self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.wfile.flush()
        self.server.count["bodies"] += 1
        return self.rfile.read(length)

    def log_message(self, *args: object) -> None:
        pass

    def split(self) -> tuple[str, Path]:
        path = unquote(urlsplit(self.path).path)
        head, _, rest = path.lstrip("/").partition("/")
        fault = head if head in FAULTS.split() else ""
        self.server.seen.append((self.command, path, dict(self.headers)))
        self.server.count[self.command + " " + fault] += 1
        return fault, self.server.root / (rest if fault else path.lstrip("/"))

    def answer(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def refuse(self, fault: str) -> bool:
        first = self.server.count[self.command + " " + fault] == 1
        if fault in ("500", "403", "401") or (fault == "503-once" and first):
            self.answer(int(fault[:3]), b"no")
        elif fault == "secret" and self.headers.get("Authorization") != "Bearer good":
            self.answer(401)
        elif fault == "redirect":
            self.answer(307, headers={"Location": self.path.replace("/redirect/", "/", 1)})
        elif fault == "away":
            self.answer(302, headers={"Location": "http://127.0.0.1:1/nobody"})
        elif fault == "drop":
            self.close_connection = True
        elif fault == "loop":
            self.answer(302, headers={"Location": self.path})
        elif fault == "garbage":
            self.wfile.write(b"SSH-2.0-OpenSSH\r\n")
            self.close_connection = True
        elif fault == "drop-once" and first:
            self.close_connection = True
        else:
            return False
        return True

    def do_GET(self) -> None:
        fault, path = self.split()
        if self.refuse(fault):
            return
        try:
            data = path.read_bytes()
        except OSError:
            self.answer(404, b"nothing here")
            return
        if self.command == "HEAD":
            self.answer(200, headers=self.about(data, fault))
            return
        self.give(fault, data)

    do_HEAD = do_GET

    def about(self, data: bytes, fault: str) -> dict[str, str]:
        headers = {"Content-Length": str(len(data)), "ETag": f'"{zlib.crc32(data):08x}"', "Accept-Ranges": "bytes"}
        if "adler32" in self.headers.get("Want-Digest", ""):
            headers["Digest"] = f"adler32={zlib.adler32(data):08x}"
        return headers

    def give(self, fault: str, data: bytes) -> None:
        status, headers = 200, self.about(data, fault)
        first = self.server.count["GET " + fault] == 1
        if fault == "other":
            data = data[::-1]
        if fault == "damage" and first:
            data = b"X" + data[1:]
        start = 0
        wanted = self.headers.get("Range", "")
        if wanted.startswith("bytes=") and fault != "norange":
            start = int(wanted[6:].rstrip("-"))
            status, headers["Content-Range"] = 206, f"bytes {start}-{len(data) - 1}/{len(data)}"
            self.server.count["range"] += 1
        body = data[start:]
        headers["Content-Length"] = str(len(body) + (10 if fault == "lie" else 0))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        half = len(body) // 2
        if fault == "cut" or (fault == "short-once" and first):
            self.wfile.write(body[:half])
            self.close_connection = True
        elif fault == "stall" or (fault == "stall-once" and first):
            self.wfile.write(body[:half])
            self.wfile.flush()
            self.server.ending.wait(30)
            self.close_connection = True
        elif fault == "slow":
            for i in range(0, len(body), 1000):
                self.wfile.write(body[i : i + 1000])
                self.wfile.flush()
                if self.server.ending.wait(0.02):
                    return
        else:
            self.wfile.write(body)
            self.close_connection = self.close_connection or fault == "lie"

    def do_PUT(self) -> None:
        fault, path = self.split()
        if fault == "full":
            self.answer(507, b"no room")
            self.close_connection = True
            return
        if self.refuse(fault):
            self.close_connection = True
            return
        if self.headers.get("If-None-Match") == "*" and path.exists():
            self.answer(412)
            self.close_connection = True
            return
        length = int(self.headers["Content-Length"])
        if not path.parent.is_dir():
            self.body(length)
            self.answer(409, b"no such collection")
            return
        data = self.body(length if fault != "cut" else length // 2)
        if fault == "stall":
            self.server.ending.wait(30)
        if fault in ("cut", "other"):
            data = data[::-1]
        path.write_bytes(data)
        self.answer(201)

    def do_MKCOL(self) -> None:
        _, path = self.split()
        try:
            path.mkdir()
        except FileExistsError:
            self.answer(405)
        except FileNotFoundError:
            self.answer(409)
        else:
            self.answer(201)

    def do_DELETE(self) -> None:
        _, path = self.split()
        if path.is_dir():
            import shutil

            shutil.rmtree(path)
            self.answer(204)
        elif path.exists():
            path.unlink()
            self.answer(204)
        else:
            self.answer(404)


class WebServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, root: Path, handler: type[Handler] = Handler) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.root = root
        self.count: Counter[str] = Counter()
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        self.ending = threading.Event()
        self.connections = 0

    def get_request(self) -> tuple[socket.socket, object]:
        self.connections += 1
        return super().get_request()

    def handle_error(self, request: object, client_address: object) -> None:
        pass

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


@contextlib.contextmanager
def serving(root: Path, handler: type[Handler] = Handler) -> Iterator[WebServer]:
    """The server with its files under `root`, until the block ends."""
    root.mkdir(parents=True, exist_ok=True)
    server = WebServer(root, handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.ending.set()
        server.shutdown()
        server.server_close()
        thread.join()


def until(condition: object, seconds: float = 30.0) -> None:
    """Wait for what a test needs to have happened."""
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)
