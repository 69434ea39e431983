"""Named environments: what a site's set-up commands make for some of its jobs, found out once for all of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from pilot.core.errors import SetupFailure
from pilot.core.job import JobDefinition
from pilot.core.queue import QueueData
from pilot.lib.shellenv import Change, evaluate
from pilot.runtime.chosen import Jobs

#: The key of a job's description, and the word in a queue's catch-all, that name an environment.
KEY = "environment"


class Named(Jobs, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """A section `[environments.NAME]`: lines for a shell, and the jobs that are to have what they make."""

    setup: str


class Environments:
    """The environments by name. `first` is what every payload has before them, `base` what they start from.

    Threads: `change` is for any thread; of those who ask for one environment at the same time one evaluates it.
    """

    def __init__(
        self,
        named: Mapping[str, Named] | None = None,
        base: Mapping[str, str] | None = None,
        first: Change | None = None,
    ) -> None:
        self._named, self._base, self._first = dict(named or {}), dict(base or {}), first or Change()
        self._changes: dict[str, Change] = {}
        self._locks = {name: threading.Lock() for name in self._named}

    def name_of(self, job: JobDefinition, queue: QueueData) -> str:
        """The environment that the job names, its queue, or else the first one that is for such jobs; empty for none.

        Raises `SetupFailure` for one that nobody knows.
        """
        asked = job.raw.get(KEY) or queue.flags.get(KEY, "")
        if asked and isinstance(asked, str):
            if asked not in self._named:
                known = ", ".join(self._named) or "there is none"
                raise SetupFailure(f"no environment is called {asked!r} here ({known})")
            return asked
        told = (name for name, one in self._named.items() if one.queues or one.labels or one.platforms)
        return next((name for name in told if self._named[name].fit(job, queue)), "")

    def known(self, name: str) -> Change | None:
        """What the environment changes, if it was evaluated before."""
        return self._changes.get(name) if name else self._first

    def change(self, name: str) -> Change:
        """What the environment changes, evaluated if nobody has. Raises `SetupFailure` or `LsetupTimedOut`."""
        found = self.known(name)
        if found is None:
            with self._locks[name]:
                found = self._changes.get(name) or self._evaluated(self._named[name])
                self._changes[name] = found
        return found

    def missing(self, job: JobDefinition, queue: QueueData) -> Callable[[], Change] | None:
        """What a thread that may wait has to do before the job's environment is known; None if that is nothing."""

        def work() -> Change:
            return self.change(self.name_of(job, queue))

        try:
            return None if self.known(self.name_of(job, queue)) is not None else work
        except SetupFailure:
            return work

    def _evaluated(self, named: Named) -> Change:
        own = evaluate(named.setup, self._first.apply(self._base))
        put = {**{name: text for name, text in self._first.put.items() if name not in own.drop}, **own.put}
        return Change(put, (self._first.drop - put.keys()) | own.drop)
