"""Which inputs of upcoming event ranges to fetch next, and which to let go: a bounded cache, decided purely."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import msgspec

from pilot.core.job import InputFile


def is_prefetched(item: InputFile) -> bool:
    """Whether an input is one of events: archives, libraries and raw files are needed from the start."""
    name = item.lfn.rpartition("/")[2]
    return not (item.archive or ".tar.gz" in name or ".lib.tgz" in name or ".raw." in name or name.startswith("raw"))


class Orders(msgspec.Struct, frozen=True):
    """What to do now: start to fetch these, and remove those."""

    fetch: tuple[str, ...] = ()
    evict: tuple[str, ...] = ()


def plan(
    upcoming: Sequence[str],
    sizes: Mapping[str, int],
    cached: Mapping[str, int],
    under_way: Collection[str],
    in_use: Collection[str],
    limit: int,
    at_once: int = 2,
) -> Orders:
    """Decide on inputs by name, in the order in which they will be needed.

    `sizes` are expected bytes (unknown ones count as nothing until they are here), `cached` those that are here with
    their bytes, `in_use` those that workers have open. The cache holds at most `limit` bytes, but the input that is
    needed next is fetched whatever it weighs: otherwise nobody could go on. What is in use is never let go.
    """
    wanted = list(dict.fromkeys(upcoming))
    missing = [name for name in wanted if name not in cached and name not in under_way]
    room = limit - sum(cached.values()) - sum(sizes.get(name, 0) for name in under_way)
    idle = [name for name in cached if name not in wanted and name not in in_use]
    fetch: list[str] = []
    evict: list[str] = []
    for name in missing[: max(0, at_once - len(under_way))]:
        size = sizes.get(name, 0)
        while size > room and idle:
            evict.append(idle[0])
            room += cached[idle.pop(0)]
        first = name == wanted[0]
        if size > room and not first:
            break
        fetch.append(name)
        room -= size
    return Orders(tuple(fetch), tuple(evict))
