"""GPUs without the driver's library: a program that answers as `nvidia-smi` does is asked instead."""

from __future__ import annotations

import os
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from pilot.cli.here import look_around
from pilot.cli.here_gpus import gpus_of, to_share_out, to_tell
from pilot.core.settings import Settings
from pilot.lib import numa
from pilot.lib.gpu import Gpus, GpuUse, Model
from pilot.lib.node import Gpu, NodeFacts

SCRIPT = """#!/bin/sh
echo "$@" >> {log}
case "$1" in
*compute_cap*) echo "NVIDIA H200, 143771, 550.54.15, 9.0"; echo "NVIDIA H200, 143771, 550.54.15, 9.0" ;;
--query-gpu=index*)
    echo "0, GPU-a, NVIDIA H200, 3072, 143771, 40, 7, 1980"
    echo "1, GPU-b, NVIDIA H200, [N/A], 143771, [N/A], [N/A], 1980" ;;
--query-compute-apps*) echo "GPU-a, 11, 1024"; echo "GPU-a, 12, 2048"; echo "GPU-b, 12, [N/A]" ;;
?*) exit 2 ;;
*) echo "| NVIDIA-SMI 550.54.15     Driver Version: 550.54.15    CUDA Version: 12.4     |" ;;
esac
"""


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A search path on which there is the program; the library cannot be imported."""
    monkeypatch.setitem(sys.modules, "pynvml", None)
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "nvidia-smi").write_text(SCRIPT.format(log=tmp_path / "asked"))
    (folder / "nvidia-smi").chmod(0o755)
    return f"{folder}:/usr/bin:/bin"


def test_what_processes_use_is_told_by_the_program(path: str, tmp_path: Path) -> None:
    gpus = Gpus.find(path)
    assert gpus is not None
    assert gpus.models() == [Model("NVIDIA H200", 1980, 143771 << 10)] * 2
    assert gpus.use([11]) == GpuUse(1, 1 << 20)
    assert gpus.use([11, 12]) == GpuUse(2, 3 << 20)
    inside = gpus.use([99], assigned=["0"])  # in a PID namespace numbers are others': the whole device counts
    assert inside == GpuUse(1, 3 << 20, 40.0, 7.0)
    asked = (tmp_path / "asked").read_text().count("compute-apps")
    gpus.use([11])
    assert (tmp_path / "asked").read_text().count("compute-apps") == asked, "it is asked seldom"


def test_a_program_that_fails_or_finds_no_gpu_means_none(path: str, tmp_path: Path) -> None:
    for text in ("#!/bin/sh\nexit 9\n", "#!/bin/sh\necho No devices were found\n"):
        (tmp_path / "bin" / "nvidia-smi").write_text(text)
        assert Gpus.find(path) is None
    assert Gpus.find("/nowhere") is None


def test_a_node_tells_its_gpus_and_shares_them_out(path: str, tmp_path: Path) -> None:
    here = look_around(Settings(), tmp_path, {"PATH": path})
    assert here.facts.gpus == (Gpu("NVIDIA", "H200", 2, 143771, "Hopper", "550.54.15", "CUDA", "12.4"),)
    assert here.room.gpus == ("0", "1")


H200 = Gpu("NVIDIA", "H200", 2, 143771, "Hopper", "550.54.15", "CUDA", "12.4")
V100 = Gpu("NVIDIA", "V100", 1, 16384, "Volta", "550.54.15", "CUDA", "12.4")
TOLD = {
    "vendor": "NVIDIA", "model": "H200", "vram": 143771, "architecture": "Hopper", "framework": "CUDA",
    "framework_version": "12.4", "driver_version": "550.54.15",
}  # fmt: skip


@pytest.mark.parametrize(
    ("known", "shared", "told"),
    [
        ((H200,), ("0", "1"), (TOLD,)),
        ((H200,), ("1",), (TOLD,)),
        ((H200,), (), ()),
        ((), (), None),
        ((Gpu("NVIDIA", "H200", 2, driver="550.54.15"),), ("0", "1"), None),
        ((H200,), ("MIG-a",), None),
        ((H200, V100), ("0",), None),
    ],
)
def test_gpus_are_told_to_the_server_only_where_all_is_known_of_them(
    known: tuple[Gpu, ...], shared: tuple[str, ...], told: tuple[dict[str, Any], ...] | None
) -> None:
    assert to_tell(NodeFacts(gpus=known), shared) == told


def test_several_models_are_told_each(path: str) -> None:
    told = to_tell(NodeFacts(gpus=(H200, V100)), ("0", "1", "2"))
    assert told is not None and [one["model"] for one in told] == ["H200", "V100"]


def test_the_drivers_library_tells_all_that_a_job_may_demand(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Library(ModuleType):
        NVML_CLOCK_SM, NVMLError = 1, KeyError
        said = {
            "nvmlInit": None, "nvmlDeviceGetCount": 2, "nvmlDeviceGetHandleByIndex": 0,
            "nvmlDeviceGetName": b"NVIDIA H200", "nvmlDeviceGetMemoryInfo": SimpleNamespace(total=143771 << 20),
            "nvmlDeviceGetCudaComputeCapability": (9, 0), "nvmlSystemGetDriverVersion": b"550.54.15",
            "nvmlSystemGetCudaDriverVersion": 12040,
        }  # fmt: skip

        def __getattr__(self, name: str) -> Any:
            if not name.startswith("nvml"):
                raise AttributeError(name)
            return lambda *words: self.said[name]

    library = Library("pynvml")
    library.__spec__ = ModuleSpec("pynvml", None)
    monkeypatch.setitem(sys.modules, "pynvml", library)
    (tmp_path / "nvidia-smi").touch(mode=0o755)
    assert gpus_of(NodeFacts(), {"PATH": str(tmp_path)}) == (H200,)


@pytest.mark.parametrize(
    ("given", "gpus"),
    [
        (None, ("0", "1")),
        ("1", ("1",)),
        ("GPU-b, GPU-a", ("GPU-b", "GPU-a")),
        ("", ()),
        ("NoDevFiles", ()),
        ("0,-1,1", ("0",)),
    ],
)
def test_only_what_the_batch_system_gave_is_shared_out(given: str | None, gpus: tuple[str, ...]) -> None:
    facts = NodeFacts(gpus=(Gpu("NVIDIA", "H200", 2),))
    assert to_share_out(facts, {} if given is None else {"CUDA_VISIBLE_DEVICES": given}) == gpus
    assert to_share_out(NodeFacts(), {"CUDA_VISIBLE_DEVICES": "0"}) == ()


def test_memory_nodes_are_read_from_the_kernels_tree(tmp_path: Path) -> None:
    for number, cpus in {10: "8-11", 0: "0-3,12", 2: "4-7\n", 3: "\n"}.items():
        folder = tmp_path / f"sys/devices/system/node/node{number}"
        folder.mkdir(parents=True)
        (folder / "cpulist").write_text(cpus)
    assert numa.nodes(tmp_path) == (frozenset({0, 1, 2, 3, 12}), frozenset({4, 5, 6, 7}), frozenset({8, 9, 10, 11}))
    assert numa.nodes(tmp_path / "nothing") == ()


def test_a_pilot_knows_the_memory_nodes_of_its_machine(tmp_path: Path) -> None:
    room = look_around(Settings(), tmp_path, {"PATH": "/usr/bin:/bin"}).room
    assert room.numa == numa.nodes()
    if Path("/sys/devices/system/node/node0/cpulist").exists():
        assert frozenset(os.sched_getaffinity(0)) & frozenset().union(*room.numa)
