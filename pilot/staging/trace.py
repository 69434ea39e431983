"""Rucio trace reports: what came of each attempt, in the words of protocol.md 8.5. Pure but for the clock's value."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from pilot.core.transfer import Attempt, Direction, Transfer
from pilot.lib.files import local_path
from pilot.lib.urls import scheme_of, shown

_STATES = {
    1103: "MISSINGOUTPUTFILE",
    1165: "MISSINGOUTPUTFILE",
    1171: "AD_MISMATCH",
    1172: "AD_MISMATCH",
    1145: "MD5_MISMATCH",
    1141: "MD5_MISMATCH",
    1323: "BAD_COPYTOOL",
    1326: "NO_REPLICA",
    1331: "NO_REPLICA",
}


def trace_version(pilot: str) -> str:
    """The `eventVersion`: the pilot's version and that of the Rucio clients, `none` without them."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return f"{pilot}+{version('rucio-clients')}"
    except PackageNotFoundError:
        return f"{pilot}+none"


class Tracer(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is the same in all traces of one job."""

    version: str
    local_site: str = ""
    host: str = ""
    ip: str = ""
    user_dn: str = ""
    job_id: int = 0
    task_id: int = 0
    definition_id: int = 0
    queue: str = ""
    user_job: bool = False


def trace_of(tracer: Tracer, attempt: Attempt, transfer: Transfer, catalogue_s: float = 0.0) -> dict[str, Any] | None:
    """The trace of one attempt, with every field; None where a mandatory one would be empty (it would be refused)."""
    inward = attempt.direction is Direction.IN
    if attempt.direction is Direction.OTHER:  # told apart by the end that is here
        inward = local_path(attempt.target) is not None
    kind = ("get_sm" if inward else "put_sm") + ("_a" if tracer.user_job else "")
    remote = attempt.rse or tracer.local_site
    local = tracer.local_site or remote
    if not (local and remote):
        return None
    ended = attempt.started + attempt.seconds
    seed = f"ppilot_{tracer.definition_id}" if tracer.definition_id else f"{tracer.job_id}:{attempt.started}"
    return {
        "eventType": kind,
        "eventVersion": tracer.version,
        "protocol": attempt.copytool or scheme_of(attempt.source if inward else attempt.target),
        "clientState": _state(attempt, inward),
        "localSite": local,
        "remoteSite": remote,
        "timeStart": attempt.started,
        "catStart": attempt.started - catalogue_s,
        "relativeStart": attempt.started,
        "transferStart": attempt.started,
        "validateStart": ended - attempt.checksum_seconds,
        "timeEnd": ended,
        "dataset": transfer.dataset,
        "scope": transfer.scope,
        "version": tracer.version,
        "duid": None,
        "filename": shown(attempt.lfn),
        "guid": transfer.guid.replace("-", ""),
        "filesize": attempt.size or transfer.size or 0,
        "usr": hashlib.md5(tracer.user_dn.encode(), usedforsecurity=False).hexdigest() if tracer.user_dn else "",
        "appid": str(tracer.job_id),
        "hostname": tracer.host,
        "ip": tracer.ip,
        "suspicious": "0",
        "usrdn": tracer.user_dn,
        "url": shown(attempt.source if inward else attempt.target),
        "stateReason": shown(attempt.failure.message) if attempt.failure else "OK",
        "uuid": hashlib.md5(seed.encode(), usedforsecurity=False).hexdigest(),
        "taskid": tracer.task_id,
        "pq": tracer.queue,
    }


def _state(attempt: Attempt, inward: bool) -> str:
    if attempt.in_place:
        return "FAILED_REMOTE_OPEN" if attempt.failure else "FOUND_ROOT"
    if attempt.failure is None:
        return "DONE"
    return _STATES.get(attempt.failure.code, "STAGEIN_ATTEMPT_FAILED" if inward else "STAGEOUT_ATTEMPT_FAILED")
