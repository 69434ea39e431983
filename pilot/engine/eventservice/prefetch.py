"""Inputs of event ranges that are fetched while others are worked through, into a cache that stays small.

Where a range tells which bytes of its input it needs (`byteRanges` in what the server sent with it: pairs of first byte
and number of bytes), only those are fetched, into a copy with holes; else the whole file is. Runs in the thread
`events`; the fetching itself in `event-work-N`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pilot.core.errors import PilotError, StageInFailed, error_of_code
from pilot.core.job import InputFile, JobDefinition
from pilot.core.ranges import EventRange
from pilot.core.storage import StagingSite
from pilot.lib import extents
from pilot.lib.cancel import Cancel
from pilot.lib.files import local_path
from pilot.lib.worker import Worker
from pilot.runtime.ledger import Ledger
from pilot.runtime.prefetch import plan
from pilot.staging.plan import plan_stage_in
from pilot.staging.transfer import Transferer

_log = logging.getLogger("pilot.events")
_LOOK = 64
_TRIES = 3
KEY = "byteRanges"
WHOLE: list[extents.Extent] = [(0, 1 << 62)]


class Prefetched:
    """The inputs of one job. `limit` bounds the cache in bytes; `ready` is called in the thread `events` when
    something has arrived, `lost(numbers, why)` for ranges whose input cannot be had."""

    def __init__(
        self,
        definition: JobDefinition,
        site: StagingSite,
        folder: Path,
        inside: Callable[[str], str],
        transferer: Transferer,
        work: Worker,
        post: Callable[[Callable[[], None]], None],
        limit: int,
    ) -> None:
        self.ready: Callable[[], None] = lambda: None
        self.lost: Callable[[list[int], str], None] = lambda numbers, why: None
        self._definition, self._site, self._folder, self._inside = definition, site, folder, inside
        self._transferer, self._work, self._post, self._limit = transferer, work, post, limit
        self._inputs = {item.lfn: item for item in definition.inputs}
        self._cached: dict[str, int] = {}
        self._parts: dict[str, list[extents.Extent]] = {}
        self._under_way: dict[str, int] = {}
        self._tries: dict[str, int] = {}
        self._failed: dict[str, str] = {}
        self._in_one: set[str] = set()
        self._cancel = Cancel()

    def path(self, item: EventRange) -> str | None:
        """The path of the range's input; None while it is on its way."""
        if item.lfn not in self._cached:
            return None if item.lfn in self._inputs or item.path else item.lfn
        if extents.without(_needs(item), self._parts[item.lfn]):
            return None
        return self._inside(str(self._place(item.lfn)))

    def prepare(self, ledger: Ledger) -> None:
        """Look ahead: fetch what the next ranges need, let go of what nobody needs any more."""
        numbers = ledger.upcoming(_LOOK)
        if not numbers:
            return
        items = [ledger.range(n) for n in numbers]
        hopeless = {item.lfn for item in items if item.lfn in self._failed}
        if hopeless:
            for lfn in hopeless:
                self.lost([n for n, item in zip(numbers, items, strict=True) if item.lfn == lfn], self._failed[lfn])
            return
        names = [item.lfn for item in items if self.path(item) is None]
        if not names:
            return
        self._fetch_more(items, names, ledger)
        sizes = {lfn: item.size or 0 for lfn, item in self._inputs.items()}
        sizes |= {item.lfn: 0 for item in items if _needs(item) != WHOLE}  # of these only what there is room for comes
        in_use = {item.lfn for item in map(ledger.range, ledger.held_numbers())}
        orders = plan([item.lfn for item in items], sizes, self._cached, self._under_way, in_use, self._limit)
        for name in orders.evict:
            self._evict(name)
        for name in orders.fetch:
            self._fetch(name, [item for item in items if item.lfn == name], items[0])

    def close(self) -> None:
        """Stop fetching and remove the cache."""
        self._cancel.set()
        for name in list(self._cached):
            self._evict(name)

    def _fetch_more(self, items: list[EventRange], names: list[str], ledger: Ledger) -> None:
        """Of inputs that are here in parts, and of which other parts are needed now, those are fetched. Where they
        would not fit, parts that nobody needs any more go first."""
        for name in set(names) & set(self._cached) - set(self._under_way):
            mine = [item for item in items if item.lfn == name]
            if _bytes(extents.merged(need for item in mine for need in _needs(item))) > self._room():
                self._shrink(name, [*mine, *(ledger.range(n) for n in ledger.held_numbers())])
            self._fetch(name, mine, items[0])

    def _room(self) -> int:
        return self._limit - sum(self._cached.values()) - sum(self._under_way.values())

    def _shrink(self, name: str, needed: list[EventRange]) -> None:
        """Let go of the parts of an input that none of these ranges needs."""
        kept = extents.merged(need for item in needed if item.lfn == name for need in _needs(item))
        gone = extents.without(self._parts[name], kept)
        try:
            if gone and extents.drop(self._place(name), gone):
                self._parts[name] = extents.without(self._parts[name], gone)
                self._cached[name] = self._place(name).stat().st_blocks * 512
        except OSError as error:
            _log.debug("%s: %s", name, error)

    def _evict(self, name: str) -> None:
        self._cached.pop(name, None)
        self._parts.pop(name, None)
        try:
            os.unlink(self._place(name))
        except OSError as error:
            _log.debug("%s: %s", name, error)

    def _place(self, name: str) -> Path:
        return self._folder / name.replace("/", "_")

    def _fetch(self, name: str, items: list[EventRange], first: EventRange) -> None:
        """Fetch the input for these ranges, or of its parts as many as there is room for. What the `first` range of all
        needs comes in any case: otherwise nobody could go on."""
        item = self._inputs.get(name) or InputFile(name, path=items[0].path)
        known = self._parts.get(name, [])
        whole, room = _needs(items[0]) == WHOLE or name in self._in_one, self._room()
        wanted: list[extents.Extent] = []
        for one in items:
            more = extents.merged([*wanted, *extents.without(_needs(one), known)])
            if whole or _needs(one) == WHOLE or (one is not first and _bytes(more) > room):
                break
            wanted = more
        if not (whole or wanted):
            return
        self._under_way[name] = (item.size or 0) if whole else _bytes(wanted)

        def work() -> list[extents.Extent]:
            self._folder.mkdir(parents=True, exist_ok=True)
            if whole:
                self._whole(item)
                return WHOLE
            extents.fetch(self._source(item), wanted, self._place(name), item.size)
            return extents.merged([*known, *wanted], 0)

        def done(parts: Any, error: PilotError | None) -> None:
            self._post(lambda: self._arrived(name, parts, error, whole))

        self._work.submit(work, done)

    def _arrived(self, name: str, parts: list[extents.Extent] | None, error: PilotError | None, whole: bool) -> None:
        self._under_way.pop(name, None)
        if self._cancel.is_set():
            return
        if parts is not None:
            self._parts[name] = parts
            self._cached[name] = self._place(name).stat().st_blocks * 512
        else:
            self._tries[name] = self._tries.get(name, 0) + 1
            _log.warning("input %s was not fetched (try %d): %s", name, self._tries[name], error)
            if self._tries[name] >= _TRIES or (error is not None and not error.retry):
                self._give_up(name, whole, error)
        self.ready()

    def _give_up(self, name: str, whole: bool, error: PilotError | None) -> None:
        """Where parts cannot be had the copy tools may bring all of it: they know credentials and redirections."""
        if whole:
            self._failed[name] = f"its input cannot be had: {error}"
            return
        _log.warning("input %s does not come in parts: all of it is fetched", name)
        self._in_one.add(name)
        self._tries.pop(name, None)

    def _source(self, item: InputFile) -> str:
        url: str = self._planned(item)[0].sources[0].url
        return url

    def _whole(self, item: InputFile) -> None:
        (outcome,) = self._transferer.carry_out(self._planned(item), cancel=self._cancel)
        if outcome.failure is not None:
            raise error_of_code(outcome.failure.code)(outcome.failure.message)
        arrived = local_path(outcome.target)
        if arrived is None:
            raise StageInFailed(f"{item.lfn}: {outcome.target} is not here")
        if Path(arrived) != self._place(item.lfn):
            os.replace(arrived, self._place(item.lfn))

    def _planned(self, item: InputFile) -> Any:
        from msgspec.structs import replace

        return plan_stage_in(replace(self._definition, inputs=(item,)), str(self._folder), self._site)


def _bytes(parts: list[extents.Extent]) -> int:
    return sum(count for _, count in parts)


def _needs(item: EventRange) -> list[extents.Extent]:
    """The bytes that the range needs: all of them if nobody tells which."""
    listed = item.extra.get(KEY)
    if not isinstance(listed, list):
        return WHOLE
    pairs = [pair for pair in listed if isinstance(pair, list) and len(pair) == 2]
    return [(int(first), int(count)) for first, count in pairs] or WHOLE
