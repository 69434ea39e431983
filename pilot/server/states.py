"""What an update does to a job: the server's state machine, without clock or database."""

from __future__ import annotations

import re
from dataclasses import dataclass

ACCEPTED = frozenset({"starting", "running", "holding", "transferring", "finished", "failed"})
FINAL = frozenset({"finished", "failed"})
WITH_PILOT = frozenset({"sent", "starting", "running", "holding", "transferring"})
EVENTS_FLOW = frozenset({"sent", "starting", "running"})
_ENDED = frozenset({"finished", "failed", "cancelled", "closed", "merging"})
# The wait for the adder and the file transfers come after the pilot's part: news of an earlier one changes nothing.
_BEHIND = {"holding": frozenset({"starting", "running"}), "transferring": frozenset({"starting", "running"})}
_FREE_COMMAND_LIMIT = 250


@dataclass(frozen=True)
class Standing:
    """What the server knows of a job when an update comes in. `finals` counts the final reports it took."""

    status: str
    attempt: int
    batch_id: str | None = None
    finals: int = 0
    kill: bool = False
    softkill: bool = False
    debug: bool = False
    command: str | None = None


@dataclass(frozen=True)
class Verdict:
    """`status` is the new one, None if the update is not applied; `spent`: the stored command is now delivered."""

    status: str | None
    command: str | None = None
    spent: bool = False


def judge(job: Standing | None, state: str, attempt: int | None, batch_id: str | None) -> Verdict:
    """The server's answer to an update with an accepted state (protocol.md 1.5 and 3.5)."""
    if job is None or (attempt is not None and attempt != job.attempt) or _other_batch(job.batch_id, batch_id):
        return Verdict(None, "tobekilled")
    if job.status == "failed" or (job.finals and (job.status in ("holding", "transferring") or state in FINAL)):
        return Verdict(None, "alreadydone")
    if job.status not in WITH_PILOT:
        return Verdict(None, "tobekilled")
    if state in FINAL:
        return Verdict("holding")
    status = None if state in _BEHIND.get(job.status, ()) else _coerced(job.status, state)
    # A free command may hold commas of its own, so it travels alone; a kill goes before it.
    if job.command is not None and not job.kill:
        return Verdict(status, job.command, spent=True)
    return Verdict(status, _words(job))


def _coerced(status: str, state: str) -> str:
    return "running" if status == "running" and state == "starting" else state


def _other_batch(recorded: str | None, told: str | None) -> bool:
    return bool(recorded and told and recorded != told and not (recorded.isdigit() and told.isdigit()))


def _words(job: Standing) -> str | None:
    told = (("debug", job.debug), ("softkill", job.softkill), ("tobekilled", job.kill))
    return ",".join(word for word, wanted in told if wanted) or None


def command_fault(command: str) -> str | None:
    """Why an operator's command cannot be given to a pilot; None if it can."""
    if len(command) > _FREE_COMMAND_LIMIT:
        return f"a command has at most {_FREE_COMMAND_LIMIT} characters"
    if not command.strip() or re.search(r"[\x00-\x1f]", command):
        return "a command is one line of text"
    return None
