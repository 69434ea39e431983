"""What is told of transfers: a JSON object for each file, a summary, and the exit code. Without secrets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from pilot.core.errors import Failure
from pilot.core.transfer import Attempt, Outcome
from pilot.lib.urls import shown
from pilot.staging.tidy import Deed

ALL, NONE, SOME = 0, 1, 2


def exit_code(done: int, failed: int) -> int:
    """0: all is done (or there was nothing to do), 1: nothing is, 2: some is."""
    if not failed:
        return ALL
    return SOME if done else NONE


def file_line(outcome: Outcome) -> dict[str, Any]:
    """One file: what it is now and every attempt that was made. Sizes in bytes, times in s."""
    line: dict[str, Any] = {
        "type": "transfer",
        "lfn": shown(outcome.lfn),
        "state": "failed" if outcome.failure else "done",
        "direction": str(outcome.direction),
        "source": shown(outcome.source),
        "target": shown(outcome.target),
        "rse": outcome.rse,
        "bytes": outcome.size,
        "seconds": round(outcome.seconds, 6),
        "checksums": outcome.checksums,
        "attempts": [attempt_line(attempt) for attempt in outcome.attempts],
    }
    if outcome.failure:
        line["error"] = _error(outcome.failure)
    return line


def deed_line(deed: Deed) -> dict[str, Any]:
    """One directory made or target removed."""
    line: dict[str, Any] = {
        "type": deed.kind,
        "state": "failed" if deed.failure else "done",
        "target": shown(deed.url),
        "seconds": round(deed.seconds, 6),
    }
    if deed.kind == "remove":
        line |= {"files": deed.files, "bytes": deed.bytes}
    if deed.failure:
        line["error"] = _error(deed.failure)
    return line


def summary(outcomes: Sequence[Outcome], deeds: Sequence[Deed], seconds: float) -> dict[str, Any]:
    """The whole in numbers."""
    failed = sum(1 for outcome in outcomes if outcome.failure) + sum(1 for deed in deeds if deed.failure)
    total = len(outcomes) + len(deeds)
    moved = sum(outcome.size for outcome in outcomes if not outcome.failure)
    return {
        "total": total,
        "done": total - failed,
        "failed": failed,
        "attempts": sum(len(outcome.attempts) for outcome in outcomes),
        "bytes": moved,
        "seconds": round(seconds, 6),
        "bytes_per_second": round(moved / seconds) if seconds > 0 else 0,
        "exit_code": exit_code(total - failed, failed),
    }


def to_json(value: Any) -> str:
    """A value as one line of JSON text."""
    return msgspec.json.encode(value).decode()


def attempt_line(attempt: Attempt) -> dict[str, Any]:
    """One try to move one file."""
    line: dict[str, Any] = {
        "copytool": attempt.copytool,
        "source": shown(attempt.source),
        "target": shown(attempt.target),
        "started": round(attempt.started, 6),
        "seconds": round(attempt.seconds, 6),
        "checksum_seconds": round(attempt.checksum_seconds, 6),
        "bytes": attempt.size,
    }
    if attempt.failure:
        line["error"] = _error(attempt.failure)
    return line


def _error(failure: Failure) -> dict[str, Any]:
    error: dict[str, Any] = {
        "code": failure.code,
        "name": failure.name,
        "message": shown(failure.message),
        "owner": str(failure.owner),
        "retry": failure.retry,
    }
    if failure.causes:
        error["causes"] = [_error(cause) for cause in failure.causes]
    return error


def told_attempt(attempt: Attempt) -> Attempt:
    """The attempt without what is secret in its URLs."""
    where = {"lfn": shown(attempt.lfn), "source": shown(attempt.source), "target": shown(attempt.target)}
    return msgspec.structs.replace(attempt, failure=told_failure(attempt.failure), **where)


def told_outcome(outcome: Outcome) -> Outcome:
    """The outcome without its attempts, and without what is secret in its URLs."""
    where = {"lfn": shown(outcome.lfn), "source": shown(outcome.source), "target": shown(outcome.target)}
    return msgspec.structs.replace(outcome, attempts=(), failure=told_failure(outcome.failure), **where)


def told_failure(failure: Failure | None) -> Failure | None:
    """The failure without what is secret in URLs."""
    return failure and msgspec.structs.replace(failure, message=shown(failure.message))
