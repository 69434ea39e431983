"""The machine and the batch job that a pilot finds itself on, out of recorded texts."""

from __future__ import annotations

from pathlib import Path

import pytest

from pilot.lib.node import (
    Gpu,
    NodeFacts,
    level,
    parse_nvidia_smi,
    read_node,
    worker_node,
    worker_node_gpus,
)
from pilot.plugins.batch.here import (
    BatchJob,
    clock,
    detect,
    features,
    parse_time_left,
    pilot_id,
    time_left_argv,
)
from pilot.plugins.sources.v1 import V1

FLAGS = "fpu sse2 cx16 lahf_lm popcnt sse4_1 sse4_2 ssse3 avx avx2 bmi1 bmi2 f16c fma abm movbe"


def machine(root: Path, sockets: int, cores: int, threads: int) -> Path:
    """A /proc of a machine with that many sockets, cores a socket and threads a core."""
    blocks = [
        f"processor\t: {n}\nmodel name\t: Xeon(R) CPU  E5-2630 v4 @ 2.20GHz\ncache size\t: 25600 KB\n"
        f"cpu MHz\t: 1200.1\nphysical id\t: {s}\ncore id\t: {c}\nflags\t: {FLAGS}\n"
        for n, (t, s, c) in enumerate((t, s, c) for t in range(threads) for s in range(sockets) for c in range(cores))
    ]
    (root / "proc").mkdir()
    (root / "proc/cpuinfo").write_text("\n".join(blocks))
    (root / "proc/meminfo").write_text("MemTotal:       65536000 kB\nMemFree: 1 kB\n")
    return root


def test_a_machine_is_told_in_the_form_that_the_server_parses(tmp_path: Path) -> None:
    facts = read_node(machine(tmp_path, sockets=2, cores=10, threads=2))
    assert (facts.logical, facts.cores, facts.sockets, facts.cores_per_socket, facts.threads_per_core) == (
        40,
        20,
        2,
        10,
        2,
    )
    assert facts.cpu_unit == "s+Xeon(R) CPU E5-2630 v4 @ 2.20GHz 25600 KB 20-Core Processor HT 2-Sockets+AVX2"
    assert (facts.level, facts.clock_mhz, facts.memory_mb) == ("x86-64-v3", 2200.0, 64000)


def test_one_socket_without_hyperthreads_is_told_as_that(tmp_path: Path) -> None:
    assert read_node(machine(tmp_path, 1, 4, 1)).cpu_unit.endswith("4-Core Processor 1-Socket+AVX2")


def test_a_machine_that_tells_nothing_is_one_core(tmp_path: Path) -> None:
    facts = read_node(tmp_path)
    assert (facts.logical, facts.cores, facts.sockets, facts.gpus) == (1, 1, 1, ())
    assert facts.cpu_unit == "s+unknown 1-Core Processor 1-Socket"


def test_this_machine_can_be_read() -> None:
    facts = read_node(disk=Path("/"))
    assert facts.logical >= 1 and facts.memory_mb > 100 and facts.disk_gb > 0


def test_levels_follow_from_flags() -> None:
    base = frozenset(FLAGS.split())
    assert level(base) == "x86-64-v3"
    assert level(base - {"movbe"}) == "x86-64-v2"
    assert level(frozenset({"sse2"})) == "x86-64-v1"
    assert level(frozenset({"asimd"})) == ""


def test_the_nvidia_driver_is_read_without_a_program(tmp_path: Path) -> None:
    for n in range(2):
        folder = tmp_path / f"proc/driver/nvidia/gpus/0000:0{n}:00.0"
        folder.mkdir(parents=True)
        (folder / "information").write_text("Model: \t\t NVIDIA H200\nIRQ: 5\n")
    (tmp_path / "proc/driver/nvidia/version").write_text(
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  x\n"
    )
    assert read_node(tmp_path).gpus == (Gpu("NVIDIA", "H200", 2, driver="550.54.15"),)


def test_nvidia_smi_is_counted_by_model() -> None:
    text = (
        "NVIDIA H200, 143771, 550.54, 9.0\nNVIDIA H200, 143771, 550.54, 9.0\nTesla V100, 16160, 550.54, 7.0\nbad line\n"
    )
    h200, v100 = parse_nvidia_smi(text)
    assert (h200.model, h200.count, h200.memory_mb, h200.architecture) == ("H200", 2, 143771, "Hopper")
    assert (v100.model, v100.count, v100.architecture) == ("Tesla V100", 1, "Volta")


def test_the_maps_have_the_types_that_the_server_demands() -> None:
    facts = NodeFacts(model="M", clock_mhz=2200.0, memory_mb=5, gpus=(Gpu("NVIDIA", "H200", 2, memory_mb=9),))
    assert V1().worker_node(worker_node(facts, "S", "h", "Q")) is not None
    (gpu,) = worker_node_gpus(facts, "S", "h")
    assert V1().worker_gpu(gpu) is not None
    assert gpu == {"site": "S", "host_name": "h", "vendor": "NVIDIA", "model": "H200", "count": 2, "vram": 9}


SYSTEMS = [
    ({"SLURM_JOB_ID": "7", "PBS_JOBID": "7"}, "SLURM", "7"),
    ({"QSUB_REQNAME": "b"}, "BQS", "b"),
    ({"PBS_JOBID": "12.host"}, "Torque", "12.host"),
    ({"LSB_JOBID": "3"}, "LSF", "3"),
    ({"JOB_ID": "4"}, "Grid Engine", "4"),
    ({"clusterid": "5.0"}, "Condor", "5.0"),
    ({"K8S_JOB_ID": "pod-1"}, "Kubernetes", "pod-1"),
    ({"_CONDOR_JOB_AD": "/ad"}, "Condor", "sched#9.0#1"),
    ({}, "", ""),
]


@pytest.mark.parametrize(("environ", "kind", "number"), SYSTEMS)
def test_the_batch_system_is_known_by_its_variables(environ: dict[str, str], kind: str, number: str) -> None:
    ads = {"/ad": 'ClusterId = 9\nGlobalJobId = "sched#9.0#1"\nCpusProvisioned = 4\nMemoryProvisioned = 8000\n'}
    job = detect(environ, ads.get)
    assert (job.kind, job.id) == (kind, number)
    if environ.get("_CONDOR_JOB_AD"):
        assert (job.cores, job.memory_mb) == (4, 8000)


def test_slurm_tells_what_was_granted() -> None:
    environ = {
        "SLURM_JOB_ID": "7",
        "SLURM_CPUS_ON_NODE": "8",
        "SLURM_MEM_PER_CPU": "2000",
        "SLURM_GPUS_ON_NODE": "a100:2",
        "SLURM_JOB_END_TIME": "1700000000",
    }
    assert detect(environ, lambda _: None) == BatchJob("SLURM", "7", 8, 16000, 2, 1_700_000_000.0)


LEFT = [
    ("SLURM", "1-02:03:04\n", 93784),
    ("SLURM", "59:30\n", 3570),
    ("SLURM", "UNLIMITED\n", None),
    ("SLURM", "INVALID\n", None),
    ("SLURM", "", None),
    ("Torque", " Resource_List.walltime = 02:00:00\n resources_used.walltime = 00:30:00\n", 5400),
    ("Torque", " job_state = R\n", None),
    ("LSF", "2:30 L\n", 9000),
    ("LSF", "-\n", None),
]


@pytest.mark.parametrize(("kind", "text", "seconds"), LEFT)
def test_the_time_left_is_read_from_what_the_system_prints(kind: str, text: str, seconds: int | None) -> None:
    assert parse_time_left(kind, text) == seconds


def test_only_systems_with_a_limit_are_asked_for_it() -> None:
    assert time_left_argv(BatchJob("SLURM", "7")) == ["squeue", "--noheader", "--format=%L", "--jobs=7"]
    assert time_left_argv(BatchJob("Condor", "7")) is None
    assert time_left_argv(BatchJob()) is None


def test_a_clock_of_one_number_is_none() -> None:
    assert clock("30") is None


def test_machine_and_job_features_give_the_earliest_end_and_the_share_of_the_benchmark() -> None:
    facts = {
        "/mf/shutdowntime": "2000\n",
        "/mf/hs06": "160",
        "/mf/total_cpu": "16",
        "/jf/jobstart_secs": "1000",
        "/jf/wall_limit_secs": "500",
        "/jf/allocated_cpu": "4",
        "/jf/max_rss_bytes": str(8 * 1024**3),
        "/jf/shutdowntime_job": "soon",
    }
    found = features({"MACHINEFEATURES": "/mf/", "JOBFEATURES": "/jf"}, facts.get)
    assert (found.ends_at, found.hs06, found.cores, found.memory_mb) == (1500.0, 40.0, 4, 8192)
    assert features({}, facts.get).ends_at is None


def test_the_pilot_id_leaves_out_an_unknown_batch_system() -> None:
    assert pilot_id("https://logs/1", "SLURM", "RC", "1.2") == "https://logs/1|SLURM|RC|1.2"
    assert pilot_id("", "", "", "1.2") == "unknown|PR|1.2"
