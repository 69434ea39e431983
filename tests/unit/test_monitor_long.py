"""The time series of a long job: some thousand points, however long it gets, and no peak lost."""

from __future__ import annotations

import itertools
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pilot.core.limits import Limits
from pilot.core.usage import Sample
from pilot.engine import monitor_watch
from pilot.engine.monitor import Monitor, Sampled
from pilot.engine.monitor_disk import Disk
from pilot.engine.monitor_files import Files
from pilot.engine.monitor_watch import Watch

DAY_S = 86_400.0
PEAK_AT_S = 1.7 * DAY_S


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now + 1e9


def family(clock: Clock) -> Any:
    """A payload whose memory grows slowly, and for 30 s on its second day by 5 GB."""
    began = clock.now

    def look(orphans: list[int]) -> Sample:
        age_s = clock.now - began
        peak_kb = 5_000_000 if PEAK_AT_S <= age_s < PEAK_AT_S + 30 else 0
        pss_kb = 1_000_000 + int(age_s) + peak_kb
        return Sample(at=clock.time(), wall_s=age_s, pss_kb=pss_kb, rss_kb=pss_kb, processes=1, user_s=age_s)

    return SimpleNamespace(look=look, child=SimpleNamespace(cgroup=None), states=["R"], members={})


def test_two_days_leave_a_series_of_bounded_length_with_all_its_peaks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(monitor_watch, "time", clock)
    posted: list[Sample] = []
    monitor = Monitor(lambda m: posted.append(m.sample) if isinstance(m, Sampled) else None)
    monkeypatch.setattr(monitor, "_surveyor", SimpleNamespace(ask=lambda key, work: None))
    watch = Watch("1.1", family(clock), Files(tmp_path, {}), Disk(tmp_path), Limits())
    while clock.now - watch.began < 2 * DAY_S:
        monitor._look(watch, [])
        clock.now += 1.0 if clock.now - watch.began < 600 else 7.0
    watch.files.write()
    times = [sample.wall_s for sample in posted]
    assert times == sorted(times) and times[-1] > 1.99 * DAY_S
    assert len([at for at in times if at <= 600]) > 50
    assert 1000 < len(posted) < 3000
    assert max(later - before for before, later in itertools.pairwise(times)) < DAY_S / 200
    assert max(sample.pss_kb for sample in posted) > 6_000_000
    lines = (tmp_path / "memory_monitor_output.txt").read_text().splitlines()
    assert len(lines) - 1 == len(posted)
    assert watch.tally.usage().max_pss_kb == max(sample.pss_kb for sample in posted)
