"""GPU figures, with a driver library that answers as NVIDIA's does and refuses what some drivers refuse."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from pilot.core.tally import Tally
from pilot.core.usage import Sample
from pilot.engine.monitor_files import hardware, header, line, summary
from pilot.lib.gpu import Gpus, GpuUse
from pilot.lib.procfs import Proc

GB = 1 << 30


class NVMLError(Exception):
    """What the driver answers to a question it does not like."""


class Library:
    """Two GPUs; processes 11 and 12 compute on the first, 12 on the second as well."""

    NVMLError = NVMLError
    NVML_CLOCK_SM = 1

    def __init__(self, *refused: str) -> None:
        self._refused = refused
        self.asked = 0
        self.since: list[int] = []

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("nvml") and name in object.__getattribute__(self, "_refused"):
            return refuse
        return object.__getattribute__(self, name)

    def nvmlDeviceGetCount(self) -> int:
        return 2

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetName(self, handle: int) -> bytes:
        return b"NVIDIA H200"

    def nvmlDeviceGetMaxClockInfo(self, handle: int, kind: int) -> int:
        return 1980 if kind == self.NVML_CLOCK_SM else 0

    def nvmlDeviceGetCudaComputeCapability(self, handle: int) -> tuple[int, int]:
        return 9, 0

    def nvmlDeviceGetUUID(self, handle: int) -> str:
        return f"GPU-{handle}"

    def nvmlDeviceGetComputeRunningProcesses(self, handle: int) -> list[SimpleNamespace]:
        self.asked += 1
        users = [(11, 2 * GB), (12, GB)] if handle == 0 else [(12, 4 * GB)]
        return [SimpleNamespace(pid=pid, usedGpuMemory=used) for pid, used in users]

    def nvmlDeviceGetGraphicsRunningProcesses(self, handle: int) -> list[SimpleNamespace]:
        return [SimpleNamespace(pid=99, usedGpuMemory=None)]

    def nvmlDeviceGetProcessUtilization(self, handle: int, since: int) -> list[SimpleNamespace]:
        self.since.append(since)
        return [SimpleNamespace(pid=12, smUtil=30 + handle, memUtil=5, timeStamp=1000 + handle)]

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> SimpleNamespace:
        return SimpleNamespace(used=5 * GB, total=10 * GB)

    def nvmlDeviceGetUtilizationRates(self, handle: int) -> SimpleNamespace:
        return SimpleNamespace(gpu=70, memory=40)


def refuse(*_: object) -> None:
    raise NVMLError


def test_use_is_summed_over_the_payloads_processes_and_devices() -> None:
    gpus = Gpus(Library())
    assert gpus.use([12]) == GpuUse(gpus=2, memory_kb=5 * GB >> 10, percent=61.0, memory_percent=10.0)
    assert gpus.use([11]) == GpuUse(gpus=1, memory_kb=2 * GB >> 10)
    assert gpus.use([1]) == GpuUse()


def test_the_given_devices_count_where_the_processes_are_not_told() -> None:
    gpus = Gpus(Library())
    whole = GpuUse(gpus=1, memory_kb=5 * GB >> 10, percent=70.0, memory_percent=40.0)
    assert gpus.use([1], ["1"]) == whole == gpus.use([1], ["GPU-0"])
    assert gpus.use([11], ["0", "1"]).gpus == 1


@pytest.mark.parametrize(
    "refused",
    [
        "nvmlDeviceGetProcessUtilization",
        "nvmlDeviceGetUUID",
        "nvmlDeviceGetGraphicsRunningProcesses",
        "nvmlDeviceGetUtilizationRates",
    ],
)
def test_a_figure_that_is_refused_costs_only_itself(refused: str) -> None:
    use = Gpus(Library(refused)).use([12])
    assert (use.gpus, use.memory_kb) == (2, 5 * GB >> 10)
    assert use.percent == (0.0 if "ProcessUtil" in refused else 61.0)
    assert Gpus(Library("nvmlDeviceGetCount")).use([12]) == GpuUse()


def test_the_driver_is_not_asked_more_often_than_told() -> None:
    library = Library()
    gpus = Gpus(library, every_s=1000.0)
    for _ in range(3):
        gpus.use([11])
    assert library.asked == 2


def test_each_device_is_asked_for_what_came_after_its_own_last_figures() -> None:
    """By the driver's clock: figures that it has not worked out yet when it is asked are not lost."""
    library = Library()
    gpus = Gpus(library, every_s=0.0)
    gpus.use([12])
    gpus.use([12])
    assert library.since == [0, 0, 1000, 1001]


def test_gpu_columns_and_keys_are_prmons_and_only_there_with_gpus() -> None:
    sample = Sample(at=5, gpus=1, gpu_memory_kb=77, gpu_percent=30.4, gpu_memory_percent=12.6)
    names, values = header(True).split(), line(sample, True).split()
    found = dict(zip(names, values, strict=True))
    assert (found["ngpus"], found["gpufbmem"], found["gpusmpct"], found["gpumempct"]) == ("1", "77", "30", "12")
    assert "ngpus" not in header(False) and len(header(False).split()) == len(line(sample, False).split())
    tally = Tally()
    tally.add(sample)
    machine = hardware(Proc(), Gpus(Library()).models())
    model = {"name": "NVIDIA H200", "sm_freq": 1980, "total_mem": 10 * GB >> 10}
    assert machine["gpu"] == {"nGPU": 2, "gpu_0": model, "gpu_1": model}
    document = json.loads(summary(tally.usage(), machine))
    assert document["Max"]["gpufbmem"] == document["Avg"]["gpufbmem"] == 77 and document["Max"]["gpusmpct"] == 30
    assert "ngpus" not in json.loads(summary(tally.usage(), hardware(Proc())))["Max"]


def test_a_machine_without_gpus_has_none() -> None:
    found = Gpus.find()
    assert found is None or found.models()
