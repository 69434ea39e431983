"""Where queue and storage data may lie, and how a document is fetched from there: once, in bounded time."""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import msgspec

from pilot.core.errors import JsonRetrievalTimeout, PilotError, QueuedataNotDownloaded, QueuedataNotOk
from pilot.lib.http import Connection, HttpSettings


class Place(msgspec.Struct, frozen=True):
    """One place. `where` is a path or a URL in which `{queue}` stands for the queue's name."""

    name: str
    where: str

    @property
    def remote(self) -> bool:
        """Whether it is reached over the network."""
        return self.where.startswith(("http://", "https://"))

    def of(self, queue: str) -> str:
        """The path or URL for one queue."""
        return self.where.replace("{queue}", queue).removeprefix("file://")


class Found(msgspec.Struct, frozen=True):
    """A document, where it comes from, and how old it is in s (0: fetched now)."""

    document: Any
    origin: str
    age_s: float = 0.0


def read_file(path: str, limit_s: float) -> Any:
    """The JSON in a file. A file system that does not answer (CVMFS, NFS) is given up after `limit_s`.

    Raises `QueuedataNotDownloaded`, `QueuedataNotOk` or `JsonRetrievalTimeout`.
    """
    result: list[bytes | OSError] = []

    def read() -> None:
        try:
            result.append(Path(path).read_bytes())
        except OSError as error:
            result.append(error)

    # A read that hangs in the kernel cannot be cancelled: it is left behind in a thread that nobody waits for.
    reader = threading.Thread(target=read, name="info-read", daemon=True)
    reader.start()
    reader.join(limit_s)
    if not result:
        raise JsonRetrievalTimeout(f"{path} was not read in {limit_s:g} s")
    if isinstance(result[0], OSError):
        raise QueuedataNotDownloaded(f"{path}: {result[0].strerror}")
    return _parsed(result[0], path)


def read_url(url: str, settings: HttpSettings) -> Any:
    """The JSON behind a URL. Raises `QueuedataNotDownloaded` or `QueuedataNotOk`."""
    connection = Connection(settings)
    try:
        reply = connection.exchange("GET", url, headers={"Accept": "application/json"})
    except PilotError as error:
        raise QueuedataNotDownloaded(str(error)) from error
    finally:
        connection.close()
    if reply.status != 200:
        raise QueuedataNotDownloaded(f"{url} was answered with status {reply.status}: {reply.text(80)}")
    return _parsed(reply.body, url)


def _parsed(data: bytes, place: str) -> Any:
    try:
        document = json.loads(data)
    except ValueError as error:
        raise QueuedataNotOk(f"{place} holds no JSON ({error})") from error
    if isinstance(document, dict) and document.get("error"):
        raise QueuedataNotOk(f"{place} reports: {str(document['error'])[:200]}")
    return document


class Cache:
    """Documents on disk, each in a file of its own; their age is that of the file. Broken ones count as absent."""

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory

    def get(self, name: str, now: float | None = None) -> Found | None:
        """The document of that name, however old."""
        if self._directory is None:
            return None
        path = self._directory / name
        try:
            age = (time.time() if now is None else now) - path.stat().st_mtime
            return Found(json.loads(path.read_bytes()), f"cache {path}", max(0.0, age))
        except (OSError, ValueError):
            return None

    def put(self, name: str, document: Any) -> None:
        """Keep a document, whole or not at all. A cache that cannot be written costs time, nothing else."""
        if self._directory is None:
            return
        path = self._directory / name
        part = path.with_name(f".{name}.{os.getpid()}.part")
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            part.write_text(json.dumps(document), encoding="utf-8")
            part.replace(path)
        except OSError:
            with contextlib.suppress(OSError):
                part.unlink()
