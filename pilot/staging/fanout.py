"""Large local files that go to several places: each is read once, and a few of them are on their way at a time."""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Sequence

from pilot.core.staging import StagingSettings
from pilot.lib.files import local_path
from pilot.lib.sharedread import SharedRead
from pilot.lib.urls import host_of
from pilot.staging.work import Work

#: Smaller files stay in memory between two reads anyway.
_SHARED_FROM = 4 << 20
#: More at a time would hold more blocks in memory, and each of them has several connections already.
_FILES_AT_ONCE = 3


class Fanout:
    """The files of one call that several targets are fed from. Touched by the coordinating thread, but for `hurry`.

    All targets of a file must be at work at the same time; so no more files are let through than find room beside each
    other at every host. A target that failed is tried again without the others, from a read of its own.
    """

    def __init__(self, settings: StagingSettings) -> None:
        self._settings = settings
        self._later: deque[list[Work]] = deque()
        self._reads: dict[int, SharedRead] = {}
        self._at_work: Counter[int] = Counter()
        self._room = _FILES_AT_ONCE

    def take(self, works: Sequence[Work]) -> list[Work]:
        """Pick out those that are fed; the works that may start now."""
        together: dict[int, list[Work]] = {}
        for work in works:
            if len(work.transfer.targets) > 1 and len(work.sources) == 1 and work.outcome is None:
                together.setdefault(work.index, []).append(work)
        fed = [mine for mine in together.values() if len(mine) > 1 and _large(mine[0])]
        if not fed:
            return list(works)
        for mine in fed:
            most = max(Counter(filter(None, (host_of(work.target.url) for work in mine))).values(), default=1)
            self._room = max(1, min(self._room, self._settings.host_limit // most))
        self._later.extend(fed)
        kept = {id(work) for mine in fed for work in mine}
        return [work for work in works if id(work) not in kept] + self.more()

    def more(self) -> list[Work]:
        """The works of the next files, as far as there is room for them."""
        found: list[Work] = []
        while self._later and len(self._reads) < self._room:
            mine = self._later.popleft()
            index, path = mine[0].index, local_path(mine[0].sources[0].place.url) or ""
            self._reads[index] = SharedRead(path, len(mine), self._settings.limit_s(_size(path)) / 2)
            self._at_work[index] = len(mine)
            for number, work in enumerate(mine):
                work.feed = self._reads[index].feed(number)
            found += mine
        return found

    def over(self, work: Work) -> list[Work]:
        """A work was tried, or will not be; those that may start in the place of its file."""
        if work.feed is None:
            return []
        work.feed.leave()
        work.feed = None
        self._at_work[work.index] -= 1
        if self._at_work[work.index]:
            return []
        del self._reads[work.index]
        return self.more()

    def rest(self) -> list[Work]:
        """What has not been let through, which will not be any more."""
        left = [work for mine in self._later for work in mine]
        self._later.clear()
        return left

    def hurry(self) -> None:
        """Nobody waits for anybody any more, from whatever thread."""
        for shared in list(self._reads.values()):
            shared.hurry()


def _large(work: Work) -> bool:
    path = local_path(work.sources[0].place.url)
    return path is not None and _size(path) >= _SHARED_FROM


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0
