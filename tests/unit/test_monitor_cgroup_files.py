"""What a group's control files say, as kernels write them: also what no machine of the tests has at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from pilot.lib import cgroup_v2
from pilot.lib.cgroup import Bounds, Group, Reading, attach
from pilot.lib.cgroup_ground import own_directories
from pilot.lib.procfs import Proc

PRESSURE = "some avg10=1.50 avg60=0.40 avg300=0.10 total={some}\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n"
V2 = {
    "memory.current": "104857600\n",
    "memory.peak": "209715200\n",
    "memory.stat": "anon 52428800\nfile 41943040\nkernel 1048576\nfile_mapped 10485760\nanon_thp 4096\n",
    "memory.events": "low 0\nhigh 3\nmax 12\noom 1\noom_kill 2\noom_group_kill 1\n",
    "memory.swap.current": "4194304\n",
    "cpu.stat": "usage_usec 3500000\nuser_usec 2500000\nsystem_usec 1000000\nnr_periods 9\nnr_throttled 4\n"
    "throttled_usec 750000\nnr_bursts 0\n",
    "io.stat": "8:0 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=0 dios=0\n253:1 \n"
    "259:0 rbytes=1000 wbytes=0 rios=1 wios=0\n",
    "pids.current": "17\n",
    "cpu.pressure": PRESSURE.format(some=1_250_000),
    "memory.pressure": PRESSURE.format(some=250_000),
    "io.pressure": PRESSURE.format(some=4_000_000),
    "cgroup.procs": "41\n42\n",
}
READ = Reading(
    memory_kb=102400,
    peak_kb=204800,
    mapped_kb=61440,
    swap_kb=4096,
    user_s=2.5,
    system_s=1.0,
    throttled_s=0.75,
    read_bytes=5096,
    write_bytes=8192,
    processes=17,
    oom_kills=2,
    stalled_cpu_s=1.25,
    stalled_memory_s=0.25,
    stalled_io_s=4.0,
)


def written(directory: Path, files: dict[str, str]) -> Path:
    directory.mkdir(parents=True)
    for name, content in files.items():
        (directory / name).write_text(content)
    return directory


def test_all_figures_of_a_v2_group_are_read_in_their_units(tmp_path: Path) -> None:
    group = attach(str(written(tmp_path / "job", V2)))
    assert isinstance(group, cgroup_v2.V2Group)
    assert group.read() == READ and group.pids() == [41, 42]


@pytest.mark.parametrize(
    ("lacking", "figures"),
    [
        ("memory.peak", ["peak_kb"]),  # before Linux 5.19
        ("memory.swap.current", ["swap_kb"]),
        ("io.stat", ["read_bytes", "write_bytes"]),
        ("cpu.pressure", ["stalled_cpu_s"]),  # PSI is off
        ("memory.events", ["oom_kills"]),
    ],
)
def test_a_control_file_that_is_not_there_costs_its_own_figures_only(
    tmp_path: Path, lacking: str, figures: list[str]
) -> None:
    files = {name: content for name, content in V2.items() if name != lacking}
    group = attach(str(written(tmp_path / "job", files)))
    assert group is not None
    read = group.read()
    for name in READ.__struct_fields__:
        assert getattr(read, name) == (0 if name in figures else getattr(READ, name)), name


def test_a_group_that_is_gone_reads_as_nothing_at_all(tmp_path: Path) -> None:
    """So the last figures that were read stay."""
    assert cgroup_v2.V2Group(tmp_path / "gone").read() == Reading()


def test_bounds_are_written_as_v2_wants_them(tmp_path: Path) -> None:
    bounds = Bounds(
        memory_mb=64,
        swap_mb=0,
        cores=1.5,
        processes=20,
        cpus=frozenset({5, 1, 2}),
        memory_nodes=frozenset({1}),
    )
    group = cgroup_v2.make(tmp_path / "job", bounds)
    assert group is not None and group.enforced == set(Bounds.__struct_fields__)
    found = {path.name: path.read_text() for path in (tmp_path / "job").iterdir()}
    assert found == {
        "memory.max": str(64 << 20),
        "memory.oom.group": "1",
        "memory.swap.max": "0",
        "cpu.max": "150000 100000",
        "pids.max": "20",
        "cpuset.cpus": "1,2,5",
        "cpuset.mems": "1",
    }


@pytest.mark.parametrize(("granted", "held"), [("1-3", False), ("1", False), ("1,5", True), ("", True)])
def test_processors_that_the_group_above_has_not_are_not_wished_for(
    tmp_path: Path, granted: str, held: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cgroup_v2, "text", lambda path: granted if str(path).endswith("cpuset.cpus.effective") else "")
    group = cgroup_v2.make(tmp_path / "job", Bounds(cpus=frozenset({1, 5})))
    assert group is not None and ("cpus" in group.enforced) is held
    assert (tmp_path / "job/cpuset.cpus").read_text().strip() == ("1,5" if held else "")


MOUNTS = {
    "v2": "30 24 0:26 / {at} rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n",
    "hybrid": "31 30 0:27 / {at}/unified rw shared:5 - cgroup2 cgroup2 rw\n"
    "32 30 0:28 / {at}/memory rw shared:6 - cgroup cgroup rw,memory\n"
    "33 30 0:29 / {at}/cpu,cpuacct rw shared:7 - cgroup cgroup rw,cpu,cpuacct\n",
    "container": "30 24 0:26 /slot/job {at} rw - cgroup2 cgroup2 rw\n",
}
OWN = {
    "v2": ("0::/slot/job\n", "slot/job", {}),
    "hybrid": (
        "4:memory:/slot\n3:cpu,cpuacct:/slot\n0::/slot\n",
        "unified/slot",
        {"memory": "memory/slot", "cpu": "cpu,cpuacct/slot", "cpuacct": "cpu,cpuacct/slot"},
    ),
    "container": ("0::/slot/job\n", "", {}),
}


@pytest.mark.parametrize("kind", MOUNTS)
def test_ones_own_group_is_found_on_every_kind_of_hierarchy(kind: str, tmp_path: Path) -> None:
    """The directories of the unified tree and of each v1 controller; a container may see only its part of a tree."""
    own, unified, older = OWN[kind]
    for name in {unified, *older.values()}:
        (tmp_path / "fs" / name).mkdir(parents=True, exist_ok=True)
    written(tmp_path / "proc" / "self", {"cgroup": own, "mountinfo": MOUNTS[kind].format(at=tmp_path / "fs")})
    found = own_directories(Proc(tmp_path / "proc"))
    assert found == (tmp_path / "fs" / unified, {name: tmp_path / "fs" / at for name, at in older.items()})


def test_killing_is_asked_of_the_kernel_where_it_can(tmp_path: Path) -> None:
    group: Group = cgroup_v2.V2Group(written(tmp_path / "job", {"cgroup.kill": "", "cgroup.procs": ""}))
    group.kill()
    assert (tmp_path / "job" / "cgroup.kill").read_text() == "1"
    assert not (tmp_path / "job" / "cgroup.freeze").exists()
