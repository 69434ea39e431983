"""Which files go together over one connection, and how many such lanes pay. Pure but for asking a tool's ability."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from pilot.core.errors import Failure
from pilot.core.staging import StagingSettings
from pilot.core.transfer import Attempt
from pilot.lib.urls import host_of
from pilot.staging.toolbox import Sites, Toolbox
from pilot.staging.verify import Try
from pilot.staging.work import Work

#: So many small files are worth a lane of their own.
_FILES_PER_LANE = 16
#: A small file that takes longer is waiting for a distant server, not for this processor.
_SLOW_S = 0.004


class Lane:
    """Files for one tool and one pair of hosts, moved one after the other. `works` shrinks as they are told of.

    With `crowds`, a file that failed may lie there while others still come.
    """

    __slots__ = ("alone", "crowds", "host", "key", "sites", "tool", "works")

    def __init__(self, tool: str, sites: Sites, host: str, key: str, works: list[Work]) -> None:
        self.tool = tool
        self.sites = sites
        self.host = host
        self.key = key
        self.works = dict(enumerate(works))
        self.alone = len(works) == 1 and works[0].alone
        self.crowds = False

    def tries(self, settings: StagingSettings) -> list[Try]:
        """What the lane is going to try now."""
        tries = []
        for key, work in self.works.items():
            source = work.next_source(settings.max_attempts)
            if source is not None:
                made = Try(work.transfer, source, work.target, settings.checksums, key, bool(work.attempts))
                made.feed = work.feed
                tries.append(made)
        return tries

    def record(
        self, work: Work, item: Try, seconds: float, failure: Failure | None, size: int = 0, sums_s: float = 0.0
    ) -> Attempt:
        """A try that has just ended."""
        return Attempt(
            lfn=work.transfer.lfn,
            direction=work.transfer.direction,
            copytool=self.tool,
            source=item.source.url,
            target=item.target.url,
            started=time.time() - seconds,
            seconds=seconds,
            size=size,
            checksum_seconds=sums_s,
            rse=item.source.rse or item.target.rse,
            failure=failure,
        )


def lanes_of(
    named: Sequence[tuple[Work, str, Sites, str]],
    toolbox: Toolbox,
    settings: StagingSettings,
    pace: Mapping[str, float],
) -> tuple[list[Lane], list[Work]]:
    """Group works by tool, credentials and hosts, and cut them into lanes; they come with their tool's name, the sites
    with credentials of their own, and their source URL.

    `pace` holds the seconds that a small file takes, by the key of a lane. Where that is not known yet, a first lane
    finds it out and the others are returned as works to be given again afterwards: many lanes for one host pay when
    its answers take long, and cost when they do not. A work whose group has failed before goes alone.
    """
    groups: dict[tuple[str, Sites, str, str, int], list[Work]] = {}
    for work, tool, sites, source in named:
        single = id(work) if work.alone or work.feed else 0
        groups.setdefault((tool, sites, host_of(source), host_of(work.target.url), single), []).append(work)
    lanes: list[Lane] = []
    held: list[Work] = []
    for (tool, sites, source_host, target_host, _), works in groups.items():
        ability = toolbox.tool(tool, sites).ability
        host = source_host or target_host
        key = f"{tool} {host}"
        count = _lane_count(works, ability.parallel, ability.large, settings, bool(host))
        if count > 1 and host and not _any_large(works, ability.large):
            if key not in pace:
                works, rest = works[:_FILES_PER_LANE], works[_FILES_PER_LANE:]
                held += rest
                count = 1
            elif pace[key] < _SLOW_S:
                count = 1
        size = max(1, min(ability.batch, -(-len(works) // count)))
        made = [Lane(tool, sites, host, key, works[i : i + size]) for i in range(0, len(works), size)]
        for lane in made:
            lane.crowds = not ability.hashes and (len(works) > 1)
        lanes += made
    return lanes, held


def _any_large(works: Sequence[Work], large: int) -> bool:
    return any((work.transfer.size or 0) >= large for work in works)


def _lane_count(works: Sequence[Work], parallel: int, large: int, settings: StagingSettings, remote: bool) -> int:
    """How many lanes may pay: one for every large file, one for every few small remote ones, within the limits."""
    most = min(parallel, settings.host_limit, settings.threads or parallel, len(works))
    if most <= 1:
        return 1
    big = sum(1 for work in works if (work.transfer.size or 0) >= large)
    small = (len(works) - big) // _FILES_PER_LANE if remote else 0
    return max(1, min(most, big + small))
