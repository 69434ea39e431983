"""http, https and WebDAV (dav, davs): files over kept connections, resumed by range, hashed as they pass."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import ClassVar
from urllib.parse import urlsplit

from pilot.core.staging import ToolSettings
from pilot.lib.cancel import Cancel
from pilot.lib.files import BLOCK
from pilot.lib.httpanswer import Answer
from pilot.plugins.copytools.base import Ability, Fault, Found, Move, Moved, ToolError, Watch
from pilot.plugins.copytools.web import Web, move_each
from pilot.plugins.copytools.webfile import Sender, WebFiles, open_source
from pilot.plugins.copytools.webwords import digests_of, parents, status_fault


class Http:
    """Files from and to web servers and WebDAV storages.

    Options: `proxy` (host:port of a cache for plain http; given up for good once it cannot be reached).
    """

    ability: ClassVar[Ability] = Ability(hashes=True, feeds=True, resumes=True, parallel=4)

    def __init__(self, settings: ToolSettings) -> None:
        self.settings = settings
        self._web = Web(settings)
        self._files = WebFiles(self._web)
        self._directories: set[str] = set()

    def move(self, moves: Sequence[Move], watch: Watch) -> Iterator[Moved]:
        """One file after the other over one connection."""
        buffer = bytearray(BLOCK)

        def one(move: Move) -> Moved:
            if move.target[:1] == "/":
                return self._files.get(move.source, move, watch, buffer)
            return self._put(move, watch, buffer)

        return move_each(moves, watch, one)

    def _put(self, move: Move, watch: Watch, buffer: bytearray) -> Moved:
        source, size = open_source(move)
        try:
            if move.feed is not None:  # it passes once: a refusal after it has passed would cost another read
                self._make_parents(move.target, watch.cancel, watch)
            sender = Sender(source, 0, size, move.kinds, watch, buffer, move.feed)
            answer = self._send(move, sender, watch)
            if answer.status in (404, 409) and self._make_parents(move.target, watch.cancel):
                answer = self._send(move, sender, watch)
        finally:
            os.close(source)
        if answer.status not in (200, 201, 202, 204):
            raise self._files.refused(answer, answer.text, move.target, put=True)
        if sender.hasher is None:
            raise ToolError(Fault.SERVICE, f"{move.target}: the server never took the file's content")
        return Moved(size=size, checksums=sender.hasher.values(), checksum_seconds=sender.hasher.seconds)

    def _send(self, move: Move, sender: Sender, watch: Watch) -> Answer:
        try:
            return self._files.put(move.target, sender, watch, overwrite=move.overwrite)
        except ToolError:
            if sender.hasher is not None and move.overwrite:  # else it may be another's that lies there
                self._sweep(move.target)
            raise

    def _sweep(self, url: str) -> None:
        """Remove what a failed upload may have left; its own failure must not hide the upload's."""
        try:
            self.remove(url)
        except ToolError:
            pass

    def _make_parents(self, url: str, cancel: Cancel, watch: Watch | None = None) -> bool:
        """Make the directories above a file, outermost first; False if that is known to be done."""
        made = False
        for directory in parents(url):
            if directory not in self._directories:
                with self._web.asking("MKCOL", directory, cancel, watch) as answer:
                    answer.excerpt()
                self._directories.add(directory)
                made = True
        return made

    # ---- questions ----------------------------------------------------------------------------------------------

    def stat(self, url: str, cancel: Cancel | None = None) -> Found:
        """Size and checksums as the server tells them."""
        with self._web.asking("HEAD", url, cancel or Cancel(), None, {"Want-Digest": "adler32,md5"}) as answer:
            answer.excerpt()
            if answer.status != 200:
                raise status_fault(answer.status, f"{url}: {answer.status} {answer.reason}", put=False)
            return Found(answer.length, digests_of(answer.header("digest")), directory=url.endswith("/"))

    def remove(self, url: str, recursive: bool = False) -> None:
        """DELETE; a WebDAV server takes a collection away with all in it, so that must be asked for."""
        if not recursive and urlsplit(url).path.endswith("/"):
            raise ToolError(Fault.REFUSED, f"{url} is a directory")
        with self._web.asking("DELETE", url, Cancel()) as answer:
            answer.excerpt()
            if answer.status not in (200, 202, 204, 404, 410):
                raise status_fault(answer.status, f"{url}: {answer.status} {answer.reason}", put=True)

    def make_directory(self, url: str) -> None:
        """MKCOL for it and, outermost first, for those above it."""
        path = url if url.endswith("/") else url + "/"
        self._make_parents(path + "x", Cancel())

    def close(self) -> None:
        """Close all kept connections."""
        self._web.close()
