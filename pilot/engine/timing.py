"""How long a job spent in each part of its way."""

from __future__ import annotations

import time

import msgspec

from pilot.core.facts import Facts
from pilot.engine.means import Run


def timed(run: Run, name: str, *, ended: bool = False, facts: Facts | None = None) -> Facts:
    """The facts with the time since `run.began` added under a name; `ended`: the payload is over now."""
    facts = facts or run.facts
    spent = round(time.monotonic() - run.began, 3) if run.began else 0.0
    facts = msgspec.structs.replace(facts, timing_s={**facts.timing_s, name: facts.timing_s.get(name, 0.0) + spent})
    return msgspec.structs.replace(facts, ended=time.time()) if ended else facts
