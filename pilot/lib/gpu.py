"""What processes use of NVIDIA GPUs, from the driver's own library (package nvidia-ml-py), where both are there."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection, Iterator
from typing import Any

import msgspec


class GpuUse(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one payload uses of GPUs: memory in kB, percent summed over the GPUs in use."""

    gpus: int = 0
    memory_kb: int = 0
    percent: float = 0.0
    memory_percent: float = 0.0


class Device(msgspec.Struct, frozen=True):
    """One GPU at one look: by process its memory (kB) and percent of the processors; and the whole device's."""

    index: int
    uuid: str
    memory_kb: dict[int, int]
    percent: dict[int, float]
    whole_memory_kb: int
    whole_percent: float
    size_kb: int


class Gpus:
    """The GPUs of this machine. A look is kept for `every_s`: the driver takes milliseconds to answer.

    `library` is the module `pynvml` or something that behaves like it.
    """

    def __init__(self, library: Any, every_s: float = 5.0) -> None:
        self._library = library
        self._every_s = every_s
        self._looked_at = -1e9
        self._devices: list[Device] = []
        self._since_us = 0

    @classmethod
    def find(cls) -> Gpus | None:
        """The GPUs, None where there is no package, no driver or no device."""
        try:
            import pynvml
        except ImportError:
            return None
        try:
            pynvml.nvmlInit()
            return cls(pynvml) if pynvml.nvmlDeviceGetCount() else None
        except pynvml.NVMLError:
            return None

    def names(self) -> list[str]:
        """The models, by device."""
        found = []
        for handle in self._handles():
            with self._unless_refused():
                name = self._library.nvmlDeviceGetName(handle)
                found.append(name.decode() if isinstance(name, bytes) else str(name))
        return found

    def use(self, pids: Collection[int], assigned: Collection[str] = ()) -> GpuUse:
        """What these processes use. In a PID namespace the driver's numbers are not ours: then what the whole of the
        devices `assigned` to the payload (by index or UUID) shows is taken for its own."""
        devices = self._look()
        mine = [(d, [p for p in pids if p in d.memory_kb or p in d.percent]) for d in devices]
        mine = [(device, own) for device, own in mine if own]
        if mine:
            memory_kb = [sum(d.memory_kb.get(p, 0) for p in own) for d, own in mine]
            percent = sum(sum(d.percent.get(p, 0.0) for p in own) for d, own in mine)
        else:
            mine = [(d, []) for d in devices if str(d.index) in assigned or d.uuid in assigned]
            mine = [(d, own) for d, own in mine if d.whole_percent or d.memory_kb]
            memory_kb = [d.whole_memory_kb for d, _ in mine]
            percent = sum(d.whole_percent for d, _ in mine)
        shares = [kb / d.size_kb * 100 for kb, (d, _) in zip(memory_kb, mine, strict=True) if d.size_kb]
        return GpuUse(len(mine), sum(memory_kb), percent, sum(shares))

    def _look(self) -> list[Device]:
        now = time.monotonic()
        if now - self._looked_at >= self._every_s:
            self._looked_at = now
            self._devices = [self._device(n, handle) for n, handle in enumerate(self._handles())]
            self._since_us = time.time_ns() // 1000
        return self._devices

    def _handles(self) -> list[Any]:
        nvml = self._library
        found = []
        with self._unless_refused():
            for n in range(nvml.nvmlDeviceGetCount()):
                with self._unless_refused():
                    found.append(nvml.nvmlDeviceGetHandleByIndex(n))
        return found

    def _device(self, index: int, handle: Any) -> Device:
        """Ask for each figure apart: drivers and virtual GPUs refuse some of them."""
        nvml = self._library
        uuid, memory_kb, percent = "", {}, {}
        whole_memory_kb, whole_percent, size_kb = 0, 0.0, 0
        with self._unless_refused():
            uuid = nvml.nvmlDeviceGetUUID(handle)
        for ask in (nvml.nvmlDeviceGetComputeRunningProcesses, nvml.nvmlDeviceGetGraphicsRunningProcesses):
            with self._unless_refused():
                memory_kb.update({one.pid: (one.usedGpuMemory or 0) >> 10 for one in ask(handle)})
        with self._unless_refused():
            for one in nvml.nvmlDeviceGetProcessUtilization(handle, self._since_us):
                percent[one.pid] = float(one.smUtil)
        with self._unless_refused():
            memory = nvml.nvmlDeviceGetMemoryInfo(handle)
            whole_memory_kb, size_kb = memory.used >> 10, memory.total >> 10
        with self._unless_refused():
            whole_percent = float(nvml.nvmlDeviceGetUtilizationRates(handle).gpu)
        name = uuid.decode() if isinstance(uuid, bytes) else uuid
        return Device(index, name, memory_kb, percent, whole_memory_kb, whole_percent, size_kb)

    @contextlib.contextmanager
    def _unless_refused(self) -> Iterator[None]:
        """A figure that the driver does not give stays as it was."""
        try:
            yield
        except self._library.NVMLError:
            return
