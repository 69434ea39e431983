"""gs://: Google Cloud Storage by its XML interface over kept connections."""

from __future__ import annotations

import base64
import binascii
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar
from urllib.parse import quote

from pilot.core.staging import ToolSettings
from pilot.lib.cancel import Cancel
from pilot.lib.credentials import named_file
from pilot.lib.files import BLOCK
from pilot.plugins.copytools.base import Ability, Fault, Found, Move, Moved, ToolError, Watch
from pilot.plugins.copytools.s3_words import s3_fault
from pilot.plugins.copytools.web import Web, move_each
from pilot.plugins.copytools.webfile import Sender, WebFiles, open_source

_SERVICE = "https://storage.googleapis.com"
_SCOPE = "https://www.googleapis.com/auth/devstorage.read_write"


class Gs:
    """Files from and to buckets, as `gs://bucket/key`.

    The token is that of `CLOUDSDK_AUTH_ACCESS_TOKEN`, or of the service account in `GOOGLE_APPLICATION_CREDENTIALS`
    or of the machine, which need the package google-auth. `STORAGE_EMULATOR_HOST` is another service without tokens.
    """

    ability: ClassVar[Ability] = Ability(hashes=True, feeds=True, resumes=True, parallel=4)

    def __init__(self, settings: ToolSettings) -> None:
        self.settings = settings
        self._web = Web(settings, secrets=False)
        self._files = WebFiles(self._web, s3_fault, encoded=True)
        self._guard = threading.Lock()
        self._accounts: dict[str, Any] = {}

    @property
    def _base(self) -> str:
        other = self.settings.environment.get("STORAGE_EMULATOR_HOST", "")
        return (other if "://" in other else f"http://{other}") if other else _SERVICE

    def _address(self, url: str) -> str:
        return f"{self._base.rstrip('/')}/{quote(url.partition('://')[2])}"

    def _headers(self, site: str = "") -> dict[str, str]:
        if self._base != _SERVICE:
            return {}
        token = self.settings.environment.get("CLOUDSDK_AUTH_ACCESS_TOKEN") or self._token(site)
        return {"Authorization": f"Bearer {token}"}

    def _token(self, site: str) -> str:
        """A token of an account, renewed when it runs out."""
        try:
            import google.auth
            import google.auth.exceptions
            import google.auth.transport.requests
        except ImportError as error:
            raise ToolError(Fault.NO_TOOL, f"google-auth is not installed: {error}") from error
        with self._guard:
            try:
                path, _ = named_file(self.settings.environment, "GOOGLE_APPLICATION_CREDENTIALS", site)
                if path not in self._accounts:
                    load = google.auth.load_credentials_from_file
                    found = load(path, scopes=[_SCOPE]) if path else google.auth.default(scopes=[_SCOPE])
                    self._accounts[path] = found[0]
                account = self._accounts[path]
                if not account.valid:
                    account.refresh(google.auth.transport.requests.Request())
            except google.auth.exceptions.GoogleAuthError as error:
                raise ToolError(Fault.CREDENTIAL, f"Google account: {type(error).__name__}") from error
            return str(account.token)

    def move(self, moves: Sequence[Move], watch: Watch) -> Iterator[Moved]:
        """One file after the other over one connection."""
        buffer = bytearray(BLOCK)

        def one(move: Move) -> Moved:
            if move.target[:1] == "/":
                return self._files.get(self._address(move.source), move, watch, buffer, self._headers(move.site))
            return self._put(move, watch, buffer)

        return move_each(moves, watch, one)

    def _put(self, move: Move, watch: Watch, buffer: bytearray) -> Moved:
        source, size = open_source(move)
        try:
            headers = self._headers(move.site) | ({} if move.overwrite else {"x-goog-if-generation-match": "0"})
            sender = Sender(source, 0, size, (*move.kinds, "md5"), watch, buffer, move.feed)
            answer = self._files.put(self._address(move.target), sender, watch, headers)
        finally:
            os.close(source)
        if answer.status not in (200, 201):
            raise self._files.refused(answer, answer.text, move.target, put=True)
        if sender.hasher is None:
            raise ToolError(Fault.SERVICE, f"{move.target}: the service never took the file's content")
        sums, told = sender.hasher.values(), hashes_of(answer.headers)
        if told.get("md5", sums["md5"]) != sums["md5"]:
            self.remove(move.target)
            raise ToolError(Fault.DAMAGED, f"{move.target}: md5 {told['md5']} instead of {sums['md5']}")
        wanted = {kind: value for kind, value in sums.items() if kind in move.kinds}
        return Moved(size, wanted, sender.hasher.seconds, proven="md5" in told)

    def stat(self, url: str, cancel: Cancel | None = None) -> Found:
        """Size, md5 and crc32c."""
        with self._web.asking("HEAD", self._address(url), cancel or Cancel(), None, self._headers()) as answer:
            answer.excerpt()
            if answer.status != 200:
                raise s3_fault(answer.status, "", f"{url}: {answer.status} {answer.reason}", put=False)
            return Found(answer.length, hashes_of(answer.headers))

    def remove(self, url: str, recursive: bool = False) -> None:
        """Delete one object; there are no directories to delete."""
        if recursive:
            raise ToolError(Fault.UNSUPPORTED, f"{url}: objects are removed one by one")
        with self._web.asking("DELETE", self._address(url), Cancel(), None, self._headers()) as answer:
            text = answer.excerpt()
            if answer.status not in (200, 204, 404):
                raise s3_fault(answer.status, text, f"{url}: {answer.status}", put=True)

    def make_directory(self, url: str) -> None:
        """There are no directories in a bucket, and buckets are not ours to make."""

    def close(self) -> None:
        """Close all connections."""
        self._web.close()


def hashes_of(headers: Mapping[str, str]) -> dict[str, str]:
    """The checksums of `x-goog-hash`, as hexadecimal."""
    found: dict[str, str] = {}
    for part in headers.get("x-goog-hash", "").split(","):
        kind, _, value = part.strip().partition("=")
        try:
            if kind in ("md5", "crc32c"):
                found[kind] = base64.b64decode(value, validate=True).hex()
        except (binascii.Error, ValueError):
            continue
    return found
