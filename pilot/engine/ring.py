"""What the parts of a job's way need of the whole (`engine.runner`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from pilot.core.errors import Failure, PilotError
from pilot.core.facts import Facts
from pilot.core.lifecycle import Event
from pilot.engine.eventwork import EventWork
from pilot.engine.means import Means, Run
from pilot.engine.reporter import Reporter
from pilot.engine.reserve import Reserve
from pilot.engine.telling import Telling


class Ring(Protocol):
    """The jobs under way by their keys, and what is done with one. Everything here happens in the loop's thread."""

    means: Means
    active: dict[str, Run]
    reserve: Reserve
    reporter: Reporter
    telling: Telling
    events: EventWork

    def event(self, run: Run, event: Event, facts: Facts | None = None, also: Callable[[], None] | None = None) -> None:
        """Decide, write it down, carry out."""

    def work(
        self,
        run: Run,
        work: Callable[[], Any],
        then: Callable[[Run, Any, PilotError | None], None],
        kind: str = ...,
    ) -> None:
        """Have a staging thread do something."""

    def ready(self, run: Run) -> None:
        """Start the payload of a job whose inputs are here, or let it wait for room."""

    def stop(self, run: Run, failure: Failure) -> None:
        """Have a job end early."""

    def abandon(self, run: Run) -> None:
        """Interrupt what is being done."""
