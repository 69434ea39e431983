"""Which job gets which part of the node. Pure accounting: no clock, no files, one owner.

Two policies. `EqualSlots` cuts the node into N equal slots; a job that needs more than one takes several. `Packed`
gives each job what it asks for as long as it fits; a job that wants the whole node gets it when it is empty.
A job that asks for more cores than the node has gets all of them; one that needs more memory, disk or GPUs is refused.
Every call costs at most a pass over the node's CPUs; nothing grows with the number of jobs that have ended.
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from pilot.core.job import JobDefinition


class Node(msgspec.Struct, frozen=True):
    """What there is to share out. Memory and disk in MB, 0: unknown and not accounted.

    `cpus` are the numbers of the usable CPUs (empty: jobs are not pinned), `numa` the same CPUs by memory node
    (empty: one), `gpus` indices or UUIDs.
    """

    cores: int
    memory_mb: int = 0
    gpus: tuple[str, ...] = ()
    disk_mb: int = 0
    cpus: frozenset[int] = frozenset()
    numa: tuple[frozenset[int], ...] = ()


class Needs(msgspec.Struct, frozen=True):
    """What a job asks for. Memory and disk in MB; 0 means that it does not say."""

    cores: int = 1
    memory_mb: int = 0
    gpus: int = 0
    disk_mb: int = 0
    whole_node: bool = False


class Grant(msgspec.Struct, frozen=True):
    """What a job got: it may count on this much. `cpus` empty: not pinned; `slots` is how many it took."""

    key: str
    cores: int
    cpus: frozenset[int] = frozenset()
    gpus: tuple[str, ...] = ()
    memory_mb: int = 0
    disk_mb: int = 0
    slots: int = 1


class Free(msgspec.Struct, frozen=True):
    """What is not given away. `jobs` is how many of the smallest kind would fit."""

    jobs: int
    cores: int
    memory_mb: int
    disk_mb: int
    gpus: int


class Slots(Protocol):
    """A policy of sharing a node out. One thread at a time."""

    def take(self, key: str, needs: Needs) -> Grant | None:
        """A part of the node for the job, None if there is no room now. The same key twice gives the same grant."""

    def release(self, key: str) -> None:
        """The job has ended; unknown keys are ignored."""

    def free(self) -> Free:
        """What could be given away now."""

    def refusal(self, needs: Needs) -> str:
        """Why this can never be granted, even on the empty node; empty if it can."""


def needs_of(job: JobDefinition, *, whole_node: bool = False) -> Needs:
    """What a job's definition asks of the node; a core count of 0 or less asks for all of it."""
    return Needs(
        cores=max(1, job.cores),
        memory_mb=max(0, job.memory_mb),
        gpus=max(0, job.gpus),
        disk_mb=max(0, job.disk_mb),
        whole_node=whole_node or job.cores <= 0,
    )


def slots_for(word: str, node: Node) -> Slots:
    """The policy that `--slots` names: `auto` or the number of slots. Raises ValueError for anything else."""
    if word == "auto":
        return Packed(node)
    try:
        number = int(word)
    except ValueError:
        number = 0
    if number < 1:
        raise ValueError(f"slots: {word!r} is neither 'auto' nor a number above 0")
    return EqualSlots(node, number)


class _Devices:
    """The CPUs and GPUs that nobody has, by memory node."""

    def __init__(self, node: Node) -> None:
        known = [part & node.cpus for part in node.numa] if node.numa else [node.cpus]
        rest = node.cpus.difference(*known)
        self._home = {cpu: place for place, part in enumerate([*known, rest]) for cpu in part}
        self._cpus: list[set[int]] = [set(part) for part in [*known, rest]]
        self._gpus = list(node.gpus)

    def take_cpus(self, number: int) -> frozenset[int]:
        """That many CPUs: of the fullest memory node that has them all, else from as few as possible.

        Empty when the node is not pinned or has too few left.
        """
        if sum(map(len, self._cpus)) < number:
            return frozenset()
        fitting = [part for part in self._cpus if len(part) >= number]
        chosen: set[int] = set()
        parts = [min(fitting, key=len)] if fitting else sorted(self._cpus, key=len, reverse=True)
        for part in parts:
            piece = sorted(part)[: number - len(chosen)]
            part.difference_update(piece)
            chosen.update(piece)
        return frozenset(chosen)

    def take_gpus(self, number: int) -> tuple[str, ...]:
        taken, self._gpus = tuple(self._gpus[:number]), self._gpus[number:]
        return taken

    def give_back(self, grant: Grant) -> None:
        for cpu in grant.cpus:
            self._cpus[self._home[cpu]].add(cpu)
        self._gpus.extend(grant.gpus)

    @property
    def gpus(self) -> int:
        return len(self._gpus)


class EqualSlots:
    """N equal slots. A job takes as many as its largest need asks for; GPUs are counted one by one.

    With more slots than cores every slot counts as one core and nothing is pinned.
    """

    def __init__(self, node: Node, number: int) -> None:
        self._node = node
        self._number = number
        self._left = number
        self._cores = max(1, node.cores // number)
        self._memory_mb = node.memory_mb // number
        self._disk_mb = node.disk_mb // number
        self._devices = _Devices(node)
        self._grants: dict[str, Grant] = {}
        self._pinned = len(node.cpus) >= number * self._cores

    def take(self, key: str, needs: Needs) -> Grant | None:
        """As many free slots as the job needs."""
        if key in self._grants:
            return self._grants[key]
        count = self._slots_of(needs)
        if count > self._left or needs.gpus > self._devices.gpus:
            return None
        self._left -= count
        cores = count * self._cores
        grant = Grant(
            key=key,
            cores=cores,
            cpus=self._devices.take_cpus(cores) if self._pinned else frozenset(),
            gpus=self._devices.take_gpus(needs.gpus),
            memory_mb=count * self._memory_mb,
            disk_mb=count * self._disk_mb,
            slots=count,
        )
        self._grants[key] = grant
        return grant

    def release(self, key: str) -> None:
        """Give the job's slots back."""
        if grant := self._grants.pop(key, None):
            self._left += grant.slots
            self._devices.give_back(grant)

    def free(self) -> Free:
        """The free slots and what is in them."""
        left = self._left
        return Free(left, left * self._cores, left * self._memory_mb, left * self._disk_mb, self._devices.gpus)

    def refusal(self, needs: Needs) -> str:
        """A job may need more slots than there are, or more GPUs."""
        if needs.gpus > len(self._node.gpus):
            return f"{needs.gpus} GPUs asked for, the node has {len(self._node.gpus)}"
        count = self._slots_of(needs)
        if count > self._number:
            return f"{_words(needs)} asked for: {count} slots, there are {self._number}"
        return ""

    def _slots_of(self, needs: Needs) -> int:
        if needs.whole_node:
            return self._number
        cores = min(self._number, -(-needs.cores // self._cores))  # more cores than there are: all there are
        asked = ((needs.memory_mb, self._memory_mb), (needs.disk_mb, self._disk_mb))
        return max(1, cores, *(-(-want // each) for want, each in asked if each))


class Packed:
    """Each job gets what it asks for. One that does not say its memory is charged its cores' share of the node's."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._cores = node.cores
        self._memory_mb = node.memory_mb
        self._disk_mb = node.disk_mb
        self._devices = _Devices(node)
        self._grants: dict[str, Grant] = {}
        self._pinned = len(node.cpus) >= node.cores

    def take(self, key: str, needs: Needs) -> Grant | None:
        """What the job asks for, all or nothing; the whole node only while nobody has a part of it."""
        if key in self._grants:
            return self._grants[key]
        asked = self._asked(needs)
        if needs.whole_node and self._grants:
            return None
        if not self._fits(asked):
            return None
        self._cores -= asked.cores
        self._memory_mb -= asked.memory_mb
        self._disk_mb -= asked.disk_mb
        grant = Grant(
            key=key,
            cores=asked.cores,
            cpus=self._devices.take_cpus(asked.cores) if self._pinned else frozenset(),
            gpus=self._devices.take_gpus(asked.gpus),
            memory_mb=asked.memory_mb,
            disk_mb=asked.disk_mb,
        )
        self._grants[key] = grant
        return grant

    def release(self, key: str) -> None:
        """Give back what the job had."""
        if grant := self._grants.pop(key, None):
            self._cores += grant.cores
            self._memory_mb += grant.memory_mb
            self._disk_mb += grant.disk_mb
            self._devices.give_back(grant)

    def free(self) -> Free:
        """What is left; no job fits where a known resource is used up."""
        full = self._cores <= 0 or (self._node.memory_mb and self._memory_mb <= 0)
        return Free(0 if full else self._cores, self._cores, self._memory_mb, self._disk_mb, self._devices.gpus)

    def refusal(self, needs: Needs) -> str:
        """A job may ask for more than the empty node has."""
        node, asked = self._node, self._asked(needs)
        if asked.gpus > len(node.gpus):
            return f"{asked.gpus} GPUs asked for, the node has {len(node.gpus)}"
        over = bool(node.memory_mb and asked.memory_mb > node.memory_mb)
        over = over or bool(node.disk_mb and asked.disk_mb > node.disk_mb)
        return f"{_words(asked)} asked for, the node has {_words(node)}" if over else ""

    def _asked(self, needs: Needs) -> Needs:
        node = self._node
        if needs.whole_node:
            return Needs(node.cores, node.memory_mb, len(node.gpus), node.disk_mb, whole_node=True)
        cores = min(needs.cores, node.cores)  # more cores than there are: all there are
        share = node.memory_mb * cores // node.cores if node.cores else 0
        return msgspec.structs.replace(
            needs,
            cores=cores,
            memory_mb=(needs.memory_mb or share) if node.memory_mb else 0,
            disk_mb=needs.disk_mb if node.disk_mb else 0,
        )

    def _fits(self, asked: Needs) -> bool:
        return (
            asked.cores <= self._cores
            and asked.memory_mb <= self._memory_mb
            and asked.disk_mb <= self._disk_mb
            and asked.gpus <= self._devices.gpus
        )


def _words(thing: Needs | Node) -> str:
    return f"{thing.cores} cores, {thing.memory_mb} MB memory, {thing.disk_mb} MB disk"
