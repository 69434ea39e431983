"""One file on its way: which source comes next, what was tried, and when to give up. No clock, no files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from pilot.core.errors import Failure
from pilot.core.staging import StagingSettings
from pilot.core.transfer import Attempt, Endpoint, Outcome, Transfer
from pilot.lib.sharedread import Feed

if TYPE_CHECKING:
    import random


class _Source:
    """A source with its tries so far; a dead one is not asked again."""

    __slots__ = ("dead", "place", "tries")

    def __init__(self, place: Endpoint) -> None:
        self.place = place
        self.tries = 0
        self.dead = False


class Work:
    """A transfer to one of its targets. Touched by the coordinating thread alone."""

    __slots__ = ("alone", "attempts", "due", "feed", "index", "outcome", "sources", "target", "transfer")

    def __init__(self, index: int, transfer: Transfer, target: Endpoint) -> None:
        self.index = index
        self.transfer = transfer
        self.target = target
        places = transfer.sources
        if len(places) > 1:
            places = tuple(sorted(places, key=lambda place: -place.priority))
        self.sources = [_Source(place) for place in places]
        self.attempts: list[Attempt] = []
        self.outcome: Outcome | None = None
        self.alone = False
        self.feed: Feed | None = None
        self.due = 0.0

    def next_source(self, max_attempts: int) -> Endpoint | None:
        """The source to try now: every one once, in order of priority, before any of them again."""
        if len(self.sources) == 1 and not self.attempts and not self.sources[0].dead:
            return self.sources[0].place
        alive = [source for source in self.sources if not source.dead and source.tries < max_attempts]
        if not alive:
            return None
        return min(alive, key=lambda source: source.tries).place

    def source_left(self, max_attempts: int) -> bool:
        """Whether any source may still be tried."""
        return any(not source.dead and source.tries < max_attempts for source in self.sources)

    def pass_over(self, place: Endpoint) -> None:
        """No tool can move the file from there."""
        for source in self.sources:
            source.dead = source.dead or source.place == place

    def take_up(self, tools: str) -> bool:
        """Begin anew with other tools; False if there are none."""
        if tools:
            self.transfer = msgspec.structs.replace(self.transfer, copytool=tools)
            for source in self.sources:
                source.tries, source.dead = 0, False
        return bool(tools)

    def settle(self, attempt: Attempt, outcome: Outcome) -> None:
        """The file has arrived, or nothing more will be tried."""
        self.attempts.append(attempt)
        self.outcome = outcome

    def failed(self, attempt: Attempt, failure: Failure, ends_all: bool) -> None:
        """One source did not give the file."""
        self.attempts.append(attempt)
        for source in self.sources:
            if source.place.url == attempt.source:
                source.tries += 1
                source.dead = source.dead or not failure.retry
            if ends_all:
                source.dead = True

    def pause(self, settings: StagingSettings, dice: random.Random, asked_s: float = 0.0) -> float:
        """Seconds to wait before the next source is tried; none for a source that was not tried yet.

        `asked_s` is how long a server wants to be left alone: heard unless it is longer than any pause may be.
        """
        tries = min((source.tries for source in self.sources if not source.dead), default=0)
        if not tries:
            return 0.0
        longest = min(settings.backoff_s * 2.0 ** (tries - 1), settings.backoff_max_s)
        pause = dice.uniform(longest / 2, longest)
        return max(pause, asked_s) if asked_s <= settings.backoff_max_s else pause

    def story(self) -> Failure | None:
        """Why the file is not there: the first failure, knowing the later ones that differ from it."""
        first: Failure | None = None
        for attempt in self.attempts:
            failure = attempt.failure
            if failure is None:
                continue
            if first is None:
                first = failure
            elif all((failure.code, failure.message) != (seen.code, seen.message) for seen in (first, *first.causes)):
                first = first.with_cause(failure)
        return first
