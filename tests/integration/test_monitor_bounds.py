"""What a job was granted is held by the kernel, whatever its payload tries. Run in a guest with cgroup v2 as well."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

import pytest

from pilot.core.limits import Limits
from pilot.engine.bounds import bounds_of
from pilot.lib.cgroup import Bounds, Group
from pilot.lib.cgroup_ground import Ground
from pilot.plugins.sources.dummy import DummySource
from pilot.runtime.slots import Grant
from tests.bench import Bench, shell_job

#: Asks for all processors there are, and tells which ones it has got.
GREEDY = "import os; os.sched_setaffinity(0, range(os.cpu_count())); print(*sorted(os.sched_getaffinity(0)))"
#: Both jobs run at the same time: each waits for the other, as long as a test may take.
MEET = "touch ../up.$PandaID; for i in $(seq 600); do [ $(ls ../up.* | wc -l) -ge {jobs} ] && break; sleep 0.05; done"


class Made:
    """Every group that was made: with what bounds, and what the kernel says of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.groups: list[tuple[Bounds, Group, dict[str, str]]] = []
        make = Ground.make

        def noted(ground: Ground, name: str, bounds: Bounds | None = None) -> Group | None:
            group = make(ground, name, bounds)
            if group is not None and bounds is not None:
                self.groups.append((bounds, group, _files(group)))
            return group

        monkeypatch.setattr(Ground, "make", noted)


def _files(group: Group) -> dict[str, str]:
    names = ("pids.max", "memory.max", "memory.limit_in_bytes", "cpuset.cpus", "cpu.max", "cpu.cfs_quota_us")
    return {path.name: path.read_text().strip() for at in group.directories for n in names if (path := at / n).exists()}


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Made:
    ground = Ground.prepare()
    if ground is None:
        pytest.skip("no cgroup can be made here")
    ground.restore()
    return Made(monkeypatch)


def test_jobs_beside_each_other_keep_to_their_own_processors_and_memory(made: Made, tmp_path: Path) -> None:
    jobs = min(2, len(os.sched_getaffinity(0)))
    line = f"{MEET.format(jobs=jobs)}; exec {shlex.quote(sys.executable)} -c {shlex.quote(GREEDY)}"
    bench = Bench(tmp_path, DummySource([shell_job(n, line, minRamCount=300) for n in range(1, jobs + 1)]))
    assert bench.run(slots=str(jobs), limits="processes=10,memory_mb=600,memory_grace=1.5", patience_s=60) == 0
    assert len(made.groups) == jobs
    got = [(bench.directory(n) / "payload.stdout").read_text().split() for n in range(1, jobs + 1)]
    assert len({cpu for cpus in got for cpu in cpus}) == sum(map(len, got)) <= len(os.sched_getaffinity(0))
    for bounds, group, files in made.groups:
        assert {"memory_mb", "processes"} <= group.enforced
        assert files["pids.max"] == str(10 * 16 + 1024)
        assert files.get("memory.max", files.get("memory.limit_in_bytes")) == str(900 << 20)
        if "cpus" in group.enforced:
            assert files["cpuset.cpus"] in (",".join(cpus) for cpus in got) and bounds.cores == 0
        else:
            assert "cpuset.cpus" not in files, "a controller that is there is used"


def test_jobs_that_are_not_pinned_have_a_share_of_cpu_time(made: Made, tmp_path: Path) -> None:
    slots = len(os.sched_getaffinity(0)) + 1
    bench = Bench(tmp_path, DummySource([shell_job(1, "true")]))
    assert bench.run(slots=str(slots), patience_s=60) == 0
    ((bounds, group, files),) = made.groups
    assert (bounds.cores, bounds.cpus) == (1.0, frozenset())
    assert "cores" in group.enforced
    assert files.get("cpu.max", files.get("cpu.cfs_quota_us")) in ("100000 100000", "100000")


def test_no_limit_means_no_bound() -> None:
    grant = Grant("1.1", 2, cpus=frozenset({0, 1}))
    assert bounds_of(Limits(), grant) == Bounds(cpus=frozenset({0, 1}))
    assert bounds_of(Limits(), None) == Bounds()
