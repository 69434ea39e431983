"""From what a batch worker used up to what each of its jobs did, so that the jobs' shares add up. Pure.

One worker runs many jobs, or one payload works through ranges on behalf of many. The batch system accounts for the
worker as a whole; every second of CPU and every core-second of wall time of it is given to exactly one job, or to the
worker's own overhead where no job was under way.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import msgspec


class Span(msgspec.Struct, frozen=True):
    """A time in which a job had something under way: a run of its payload or one range. Epoch s; `cores` held.

    `cpu_s` is what it was seen to use; None: nobody measured it, its share follows from its core time.
    `events` were worked through in it.
    """

    job: str
    begin: float
    end: float
    cores: int = 1
    cpu_s: float | None = None
    events: int = 0


class Whole(msgspec.Struct, frozen=True):
    """What the batch system accounts to the worker: its time, its cores, and the CPU time that all of it used."""

    begin: float
    end: float
    cores: int
    cpu_s: float


class Share(msgspec.Struct, frozen=True):
    """A job's part of a worker. `wall_core_s` is core time (idle cores of its time included), `cores` the mean of what
    it held while it was under way, `metrics` what goes into its jobMetrics."""

    begin: float
    end: float
    wall_core_s: float
    cpu_s: float
    cores: float
    events: int = 0
    metrics: dict[str, str] = {}


class Division(msgspec.Struct, frozen=True):
    """The shares by job, and the overhead: core time and CPU time with no job under way."""

    shares: dict[str, Share]
    idle_core_s: float
    idle_cpu_s: float


def divide(whole: Whole, spans: Sequence[Span]) -> Division:
    """Give all of the worker to its jobs.

    At each moment the worker's cores belong to the jobs under way, in proportion to the cores they hold; cores in
    nobody's hand are borne by those that are there. CPU time goes by what was measured; what the worker used beyond
    that (its pilot, children nobody saw) and spans without measurement are paid by core time. If more was measured
    than the worker used, all measurements are scaled down. Parts of spans outside the worker's time do not count.
    """
    inside = [clipped for span in spans if (clipped := _clip(span, whole))]
    core_s, idle = _core_time(whole, inside)
    cpu_s, idle_cpu = _cpu_time(whole, inside, core_s, idle)
    shares = {}
    for job in dict.fromkeys(span.job for span in inside):
        mine = [span for span in inside if span.job == job]
        begin, end = min(s.begin for s in mine), max(s.end for s in mine)
        under_way = _union(mine)
        held = sum((_exact(s.end) - _exact(s.begin)) * s.cores for s in mine)
        cores = float(held / under_way) if under_way else float(max(s.cores for s in mine))
        events = sum(s.events for s in mine)
        shares[job] = Share(begin, end, float(core_s[job]), float(cpu_s[job]), cores, events, _metrics(cores, events))
    return Division(shares, float(idle), float(idle_cpu))


def _metrics(cores: float, events: int) -> dict[str, str]:
    metrics = {"actualCoreCount": f"{cores:.2f}"}
    if events:
        metrics["nEvents"] = str(events)
    return metrics


def _exact(value: float) -> Fraction:
    return Fraction(value)


def _clip(span: Span, whole: Whole) -> Span | None:
    begin, end = max(span.begin, whole.begin), min(span.end, whole.end)
    if begin > end or span.cores <= 0:
        return None
    return msgspec.structs.replace(span, begin=begin, end=end)


def _core_time(whole: Whole, spans: Sequence[Span]) -> tuple[dict[str, Fraction], Fraction]:
    """The worker's core time by job, and what belongs to none, swept from edge to edge."""
    given = {span.job: Fraction(0) for span in spans}
    idle = Fraction(0)
    edges: list[tuple[float, str, int]] = []
    for span in spans:
        edges += [(span.begin, span.job, span.cores), (span.end, span.job, -span.cores)]
    edges.sort(key=lambda edge: edge[0])
    held: dict[str, int] = {}
    at = whole.begin
    for when, job, cores in [*edges, (whole.end, "", 0)]:
        area = (_exact(when) - _exact(at)) * whole.cores
        if area:
            total = sum(held.values())
            for holder, count in held.items():
                given[holder] += area * count / total
            idle += 0 if total else area
        at = when
        if cores:
            held[job] = held.get(job, 0) + cores
            if not held[job]:
                del held[job]
    return given, idle


def _cpu_time(
    whole: Whole, spans: Sequence[Span], core_s: dict[str, Fraction], idle: Fraction
) -> tuple[dict[str, Fraction], Fraction]:
    used = _exact(whole.cpu_s)
    seen = {job: Fraction(0) for job in core_s}
    for span in spans:
        seen[span.job] += _exact(max(span.cpu_s or 0.0, 0.0))
    measured = sum(seen.values(), Fraction(0))
    if measured > used:
        return {job: value * used / measured for job, value in seen.items()}, Fraction(0)
    rest, weight = used - measured, sum(core_s.values(), Fraction(0)) + idle
    if not weight:
        return seen, rest
    return {job: value + rest * core_s[job] / weight for job, value in seen.items()}, rest * idle / weight


def _union(spans: Sequence[Span]) -> Fraction:
    """How long at least one of them was under way."""
    total, until = Fraction(0), None
    for span in sorted(spans, key=lambda s: s.begin):
        begin, end = _exact(span.begin), _exact(span.end)
        if until is None or begin > until:
            total, until = total + end - begin, end
        elif end > until:
            total, until = total + end - until, end
    return total
