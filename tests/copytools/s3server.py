"""A small S3 service on loopback over a directory: what a copy tool uses of it, path style, no signature checked."""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

from tests.copytools.webserver import Handler, WebServer, serving


class S3Handler(Handler):
    def split(self) -> tuple[str, Path]:
        parts = urlsplit(self.path)
        self.query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        self.server.seen.append((self.command, unquote(parts.path), dict(self.headers)))
        self.server.count[self.command] += 1
        return "", self.server.root / unquote(parts.path).lstrip("/")

    def error(self, status: int, code: str) -> None:
        self.answer(status, f"<Error><Code>{code}</Code></Error>".encode())

    def do_GET(self) -> None:
        _, path = self.split()
        if "list-type" in self.query:
            bucket, prefix = path, self.query.get("prefix", "")
            names = sorted(str(p.relative_to(bucket)) for p in bucket.rglob("*") if p.is_file())
            rows = "".join(f"<Contents><Key>{escape(n)}</Key></Contents>" for n in names if n.startswith(prefix))
            self.answer(200, f"<ListBucketResult><IsTruncated>false</IsTruncated>{rows}</ListBucketResult>".encode())
        elif not (self.server.root / path.relative_to(self.server.root).parts[0]).is_dir():
            self.error(404, "NoSuchBucket")
        elif not path.is_file():
            self.error(404, "NoSuchKey")
        elif self.command == "HEAD":
            self.answer(200, headers=self.about(path.read_bytes(), ""))
        else:
            self.give("", path.read_bytes())

    do_HEAD = do_GET

    def about(self, data: bytes, fault: str) -> dict[str, str]:
        return {"Content-Length": str(len(data)), "ETag": f'"{hashlib.md5(data).hexdigest()}"'}

    def do_PUT(self) -> None:
        _, path = self.split()
        if path.parent == self.server.root:
            path.mkdir(exist_ok=True)
            self.answer(200)
            return
        data = self.body(int(self.headers.get("Content-Length", "0")))
        if not (self.server.root / path.relative_to(self.server.root).parts[0]).is_dir():
            self.error(404, "NoSuchBucket")
            return
        tag = f'"{hashlib.md5(data).hexdigest()}"'
        if "uploadId" in self.query:
            self.server.parts[self.query["uploadId"]][int(self.query["partNumber"])] = data  # type: ignore[attr-defined]
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        self.answer(200, headers={"ETag": tag})

    def do_POST(self) -> None:
        _, path = self.split()
        data = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        parts = self.server.parts  # type: ignore[attr-defined]
        if "uploads" in self.query:
            upload = f"u{len(parts)}"
            parts[upload] = {}
            self.answer(200, f"<R><UploadId>{upload}</UploadId></R>".encode())
        elif "delete" in self.query:
            for name in re.findall(rb"<Key>(.*?)</Key>", data):
                (path / name.decode()).unlink()
            self.answer(200, b"<DeleteResult/>")
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"".join(piece for _, piece in sorted(parts.pop(self.query["uploadId"]).items())))
            self.answer(200, b"<R><ETag>x-2</ETag></R>")

    def do_DELETE(self) -> None:
        _, path = self.split()
        if "uploadId" in self.query:
            self.server.parts.pop(self.query["uploadId"], None)  # type: ignore[attr-defined]
        else:
            path.unlink(missing_ok=True)
        self.answer(204)


@contextlib.contextmanager
def serving_s3(root: Path, handler: type[S3Handler] = S3Handler) -> Iterator[WebServer]:
    """The service, with buckets as directories below `root`."""
    with serving(root, handler) as server:
        server.parts = {}  # type: ignore[attr-defined]
        yield server
