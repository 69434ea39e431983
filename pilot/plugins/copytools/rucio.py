"""Rucio by its Python clients, in a process of their own: replicas resolved, files fetched and sent, registered or not.

The clients need some 50 MB and two seconds to start; a process that is kept for the next files pays that once, leaves
the pilot small, and can be ended in the middle of anything. Rucio's command line is not used: it succeeds on failure.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec

from pilot.core.staging import ToolSettings
from pilot.lib.cancel import Cancel
from pilot.lib.checksum import LENGTHS
from pilot.plugins.copytools.base import Ability, Fault, Found, Move, Moved, ToolError, Watch
from pilot.plugins.copytools.children import Children
from pilot.plugins.copytools.external import apart
from pilot.plugins.copytools.rucio_fed import ANOTHER_WAY, RucioFed

_FAULTS = {
    "FILE_NOT_FOUND": Fault.MISSING,
    "FAIL_VALIDATE": Fault.CORRUPT,
    "FAILED": Fault.BROKEN,
    "NoFilesDownloaded": Fault.BROKEN,
    "DataIdentifierNotFound": Fault.MISSING,
    "SourceNotFound": Fault.MISSING,
    "ScopeNotFound": Fault.MISSING,
    "ReplicaNotFound": Fault.MISSING,
    "SourceAccessDenied": Fault.DENIED,
    "AccessDenied": Fault.DENIED,
    "CannotAuthenticate": Fault.CREDENTIAL,
    "CannotAuthorize": Fault.CREDENTIAL,
    "MissingClientParameter": Fault.CREDENTIAL,
    "MissingModuleException": Fault.NO_TOOL,
    "ServiceUnavailable": Fault.SERVICE,
    "ServerConnectionException": Fault.NETWORK,
    "ConnectionException": Fault.NETWORK,
    "DestinationNotAccessible": Fault.REFUSED,
    "RSEWriteBlocked": Fault.REFUSED,
    "RSEOperationNotSupported": Fault.REFUSED,
    "NoSpaceLeftOnDevice": Fault.NO_SPACE,
    "RSENotFound": Fault.UNSUPPORTED,
    "InvalidRSEExpression": Fault.UNSUPPORTED,
    "InputValidationError": Fault.UNSUPPORTED,
    "FileReplicaAlreadyExists": Fault.EXISTS,
    "FileAlreadyExists": Fault.EXISTS,
    "DataIdentifierAlreadyExists": Fault.EXISTS,
    "FileNotFoundError": Fault.MISSING,
}


class RucioPlace(msgspec.Struct, frozen=True):
    """What `rucio://RSE/scope:name` means; without an RSE any replica. `?register=1` asks for registration."""

    rse: str
    did: str
    register: bool = False


def parse_url(url: str) -> RucioPlace | None:
    """The place that a `rucio:` URL means, None for another scheme. Raises `ToolError` for one that names no file."""
    parts = urlsplit(url)
    if parts.scheme.lower() != "rucio":
        return None
    did = unquote(parts.path.lstrip("/"))
    if ":" not in did:
        raise ToolError(Fault.UNSUPPORTED, f"{url} does not say scope:name")
    register = parse_qs(parts.query).get("register", [""])[0] in ("1", "true", "yes")
    return RucioPlace(url.partition("://")[2].partition("/")[0], did, register)


class Rucio:
    """Files by Rucio. Places are `rucio://RSE/scope:name`, or addresses of replicas (the `Move` tells the DID).

    Options: `python` (one with rucio-clients; else this one), `register` (`1`: register what is sent).
    """

    ability: ClassVar[Ability] = Ability(
        feeds=True, parallel=2, batch=50, removes=False, by_replica=True, catalogue=True
    )

    def __init__(self, settings: ToolSettings) -> None:
        self.settings = settings
        self._words = settings.options.get("rucio", {})
        self._guard = threading.Lock()
        self._made: Children | None = None
        self._fed = RucioFed(settings)

    @property
    def _children(self) -> Children:
        with self._guard:
            if self._made is None:
                env = {**self.settings.environment, **self._env()}
                self._made = Children(self._words.get("python") or sys.executable, "rucio_child.py", env)
            return self._made

    def _env(self) -> Mapping[str, str]:
        words = {"X509_USER_PROXY": self.settings.proxy_file} if self.settings.proxy_file else {}
        if self.settings.ca_path and os.path.isdir(self.settings.ca_path):
            words["X509_CERT_DIR"] = self.settings.ca_path
        return {name: value for name, value in words.items() if name not in self.settings.environment}

    def move(self, moves: Sequence[Move], watch: Watch) -> Iterator[Moved]:
        """All files by one process; those to fetch and those to send in turn."""
        watch.begin_plain(sum(move.size or 0 for move in moves))
        for move in moves:
            kind = ""
            try:
                inward = move.target[:1] == "/"
                job = self._get_job(move, watch) if inward else self._put_job(move, watch)
                if move.feed is not None:
                    yield self._send_fed(move, job, watch)
                    continue
                request = {"do": "get" if inward else "put", "jobs": [job]}
                (answer,) = self._children.ask(request, 1, watch)
                kind = str(answer.get("kind") or "")
                yield _arrived(move, answer)
            except ToolError as error:
                if error.fault in (Fault.CANCELLED, Fault.NO_TOOL):
                    raise
                yield Moved(fault=error.fault, detail=error.detail, kind=kind)

    def _send_fed(self, move: Move, job: dict[str, Any], watch: Watch) -> Moved:
        """Past the upload client if that can be, else by it, from a read of its own. Raises `ToolError`."""

        def ask(request: Mapping[str, Any]) -> Mapping[str, Any]:
            (answer,) = self._children.ask(request, 1, watch)
            if not answer.get("ok"):
                raise _fault(answer, move.target, put=True)
            return answer

        try:
            return self._fed.send(move, job, watch, ask)
        except ToolError as error:
            if error.fault not in ANOTHER_WAY:
                raise
        sums = apart(move, watch)
        answer = ask({"do": "put", "jobs": [job]})
        return msgspec.structs.replace(_arrived(move, answer), checksums=sums)

    def _get_job(self, move: Move, watch: Watch) -> dict[str, Any]:
        if not os.path.isdir(os.path.dirname(move.target)):
            raise ToolError(Fault.NO_DIRECTORY, os.path.dirname(move.target))
        place = parse_url(move.source)
        job: dict[str, Any] = {"target": move.target, "timeout": _timeout(watch)}
        if place is not None:
            return {**job, "did": place.did, "rse": place.rse}
        sums = {checksum.kind: checksum.value for checksum in move.checksums if checksum.kind in ("adler32", "md5")}
        pfn = f"file://localhost{move.source}" if move.source[:1] == "/" else move.source  # as Rucio names local files
        return {**job, "did": f"{move.scope}:{move.lfn}", "rse": move.rse, "pfn": pfn, "sums": sums}

    def _put_job(self, move: Move, watch: Watch) -> dict[str, Any]:
        if not os.path.isfile(move.source):
            raise ToolError(Fault.MISSING, move.source)
        place = parse_url(move.target)
        register = self._words.get("register") == "1"
        job: dict[str, Any] = {"source": move.source, "guid": move.guid, "timeout": _timeout(watch)}
        job["dataset"] = move.dataset
        if place is not None:
            return {**job, "did": place.did, "rse": place.rse, "register": register or place.register}
        return {**job, "did": f"{move.scope}:{move.lfn}", "rse": move.rse, "pfn": move.target, "register": register}

    def replicas(
        self,
        dids: Sequence[str],
        schemes: Sequence[str],
        location: Mapping[str, Any],
        cancel: Cancel | None = None,
        expression: str = "",
    ) -> dict[str, dict[str, Any]]:
        """`scope:name` -> its size, sums and places, the nearest first. Raises `ToolError`.

        `location` is what the server shall take for our place (`ip`, `fqdn`, `site`, `latitude`, `longitude`); only
        storages that the `expression` describes count.
        """
        request = {"do": "replicas", "dids": list(dids), "schemes": list(schemes), "location": dict(location)}
        request |= {"expression": expression} if expression else {}
        answer = self._children.question(request, cancel, self.settings.stall_s)
        if not answer.get("ok"):
            raise _fault(answer, "replicas")
        found: dict[str, dict[str, Any]] = answer["found"]
        return found

    def stat(self, url: str, cancel: Cancel | None = None) -> Found:
        """What the catalogue says of a registered file."""
        place = parse_url(url)
        if place is None:
            raise ToolError(Fault.UNSUPPORTED, f"{url}: Rucio is asked about scope:name")
        answer = self._children.question({"do": "stat", "did": place.did}, cancel, self.settings.stall_s)
        if not answer.get("ok"):
            raise _fault(answer, url)
        return Found(answer.get("size"), _sums(answer))

    def remove(self, url: str, recursive: bool = False) -> None:
        """Nothing is removed here: replicas expire by their rules."""
        raise ToolError(Fault.UNSUPPORTED, "replicas are removed by Rucio's own daemons")

    def make_directory(self, url: str) -> None:
        """There are no directories."""

    def close(self) -> None:
        """End the processes that are kept."""
        with self._guard:
            made, self._made = self._made, None
        if made is not None:
            made.close()
        self._fed.close()


def _timeout(watch: Watch) -> int:
    return max(1, int(min(watch.seconds_left, 10**6)))


def _sums(answer: Mapping[str, Any]) -> dict[str, str]:
    return {k: v.lower().zfill(LENGTHS[k]) for k, v in (answer.get("sums") or {}).items() if k in LENGTHS}


def _arrived(move: Move, answer: Mapping[str, Any]) -> Moved:
    """Rucio has verified what it moved: a download against the catalogue, an upload against the storage."""
    inward = move.target[:1] == "/"
    if not answer.get("ok"):
        raise _fault(answer, move.source if inward else move.target, put=not inward)
    try:
        size = os.stat(move.target if inward else move.source).st_size
    except OSError as error:
        raise ToolError(Fault.CUT, f"{move.lfn}: {error.strerror}") from error
    return Moved(size=size, target=str(answer.get("pfn") or ""), proven=not inward)


def _fault(answer: Mapping[str, Any], where: str, put: bool = False) -> ToolError:
    name, said = str(answer.get("error")), str(answer.get("message") or "")[:300]
    fault = _FAULTS.get(name, Fault.BROKEN)
    if fault is Fault.BROKEN and "no space left" in said.lower():
        fault = Fault.NO_SPACE
    if put and fault is Fault.DENIED:
        fault = Fault.REFUSED
    return ToolError(fault, f"{where}: {name} {said}")
