"""What a dialect of the PanDA server's interface can say and read. Pure: it makes requests and reads answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from pilot.core.errors import CommunicationFailure, PilotError, RequestRefused
from pilot.core.update import Answer, JobUpdate, Node
from pilot.plugins.sources.base import Acquired, Capacity
from pilot.plugins.sources.panda_settings import DialectName, PandaSettings

#: Inner status codes (protocol.md 1.3).
OK, DB_TIMEOUT, NO_JOBS, FAILED, INVALID, NO_ROLE, DENIED, NO_KEY, NO_PROXY = 0, 10, 20, 30, 50, 60, 70, 80, 90
#: Codes after which saying the same again may help.
MAY_PASS = frozenset({DB_TIMEOUT, FAILED, NO_PROXY})


class Call(msgspec.Struct, frozen=True):
    """One request: `path` with its query, relative to the server's base."""

    method: str
    path: str
    body: bytes | None = None
    headers: dict[str, str] = {}


class CredentialKind(msgspec.Struct, frozen=True):
    """A credential that a server gives: the call, its parameters and the names under which the answer may have it."""

    call: str
    parameters: dict[str, str]
    wanted: tuple[tuple[str, ...], ...]


class Dialect(Protocol):
    """One generation of the server's interface.

    The `read_*` functions get an answer that came with HTTP status 200. They raise `CommunicationFailure` for one
    that makes no sense (worth a retry) and `RequestRefused` for a refusal that saying the same again will not change.
    """

    name: DialectName

    def acquire(self, capacity: Capacity, settings: PandaSettings) -> Call: ...

    def read_jobs(self, body: bytes) -> Acquired: ...

    def update(self, update: JobUpdate, node: Node) -> Call: ...

    def read_answer(self, body: bytes) -> Answer: ...

    def update_bulk(self, updates: Sequence[JobUpdate], node: Node) -> Call: ...

    def read_answers(self, body: bytes, count: int) -> list[Answer]: ...

    def status(self, job_ids: Sequence[int]) -> Call: ...

    def read_status(self, body: bytes, job_ids: Sequence[int]) -> dict[int, str]: ...

    def worker_status(self, node: Node, word: str) -> Call: ...

    def worker_node(self, facts: dict[str, Any]) -> Call | None: ...

    def worker_gpu(self, facts: dict[str, Any]) -> Call | None: ...

    def read_done(self, body: bytes) -> None: ...

    def credential(self, kind: CredentialKind) -> Call: ...

    def read_credential(self, body: bytes, kind: CredentialKind) -> tuple[str, ...]: ...

    def resource_types(self) -> Call: ...

    def read_resource_types(self, body: bytes) -> list[dict[str, Any]]: ...


class BrokenAnswer(CommunicationFailure):
    """The server's answer makes no sense."""


def wanted(capacity: Capacity, settings: PandaSettings) -> dict[str, Any]:
    """What a request for jobs says in either dialect, under the names of v1; None where there is nothing to say."""
    node = settings.node
    return {
        "site_name": settings.queue,
        "prod_source_label": settings.label or None,
        "timeout": settings.wait_at_most_s,
        "memory": capacity.memory_mb or None,
        "disk_space": capacity.disk_mb or None,
        "node": node.host[:128] or None,
        "computing_element": settings.computing_element or None,
        "prod_user_id": settings.user_id or None,
        "task_id": settings.task_id,
        "resource_type": settings.resource_type or None,
        "harvester_id": node.harvester_id or None,
        "worker_id": node.worker_id,
        "scheduler_id": node.scheduler_id or None,
        "job_type": settings.job_type or None,
        "via_topic": settings.via_topic or None,
        "remaining_time": capacity.seconds_left,
    }


def garbage(what: str, body: bytes) -> BrokenAnswer:
    """The error for such an answer."""
    shown = " ".join(body[:400].decode("utf-8", "replace").split())[:120]
    return BrokenAnswer(f"{what} was answered with {shown!r}")


def of_code(what: str, code: int, text: str) -> PilotError:
    """The error for an inner status code other than 0."""
    words = {
        DB_TIMEOUT: "its database timed out",
        FAILED: "it failed",
        INVALID: "the request is invalid",
        NO_ROLE: "this credential lacks the production role",
        DENIED: "permission denied",
        NO_KEY: "the key is missing",
        NO_PROXY: "the proxy or token could not be fetched",
    }
    kind = CommunicationFailure if code in MAY_PASS else RequestRefused
    return kind(f"{what}: status {code}, {words.get(code, 'unknown status')}{f' ({text})' if text else ''}")


def whole(value: object) -> int | None:
    """A status code however it is written; None for what is none."""
    try:
        return int(str(value))
    except ValueError:
        return None
