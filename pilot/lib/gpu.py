"""What processes use of NVIDIA GPUs, from the driver's own library (package nvidia-ml-py) or its program."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection, Iterator
from typing import Any

import msgspec

#: How often a program is asked that needs a tenth of a second, or more, for its answer.
_SELDOM_S = 30.0


class GpuUse(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one payload uses of GPUs: memory in kB, percent summed over the GPUs in use.

    `percent` is of the time in which kernels ran, `memory_percent` of that in which memory was read or written.
    """

    gpus: int = 0
    memory_kb: int = 0
    percent: float = 0.0
    memory_percent: float = 0.0


class Model(msgspec.Struct, frozen=True):
    """What kind a GPU is: clock of its processors in MHz, memory in kB, compute capability (`9.0`); 0 or "" where the
    driver does not tell."""

    name: str
    clock_mhz: int = 0
    memory_kb: int = 0
    capability: str = ""


class Device(msgspec.Struct, frozen=True):
    """One GPU at one look: by process its memory (kB), percent of the processors and of the memory's time; and the
    whole device's."""

    index: int
    uuid: str
    memory_kb: dict[int, int]
    percent: dict[int, tuple[float, float]]
    whole_memory_kb: int
    whole_percent: tuple[float, float]


class Gpus:
    """The GPUs of this machine. A look is kept for `every_s`: the driver takes milliseconds to answer.

    `library` is the module `pynvml` or something that behaves like it.
    """

    def __init__(self, library: Any, every_s: float = 5.0) -> None:
        self._library = library
        self._every_s = every_s
        self._looked_at = -1e9
        self._devices: list[Device] = []
        self._since_us: dict[int, int] = {}

    @classmethod
    def find(cls, path: str | None = None) -> Gpus | None:
        """The GPUs, None where there is no driver or no device; without the package, as `nvidia-smi` tells."""
        try:
            import pynvml
        except ImportError:
            from pilot.lib.nvidia_smi import NvidiaSmi

            smi = NvidiaSmi.find(path)
            return cls(smi, _SELDOM_S) if smi else None
        try:
            pynvml.nvmlInit()
            return cls(pynvml) if pynvml.nvmlDeviceGetCount() else None
        except pynvml.NVMLError:
            return None

    def models(self) -> list[Model]:
        """The models, by device."""
        return [self._model(handle) for handle in self._handles()]

    def _model(self, handle: Any) -> Model:
        nvml = self._library
        name: object = "unknown"
        clock_mhz = memory_kb = 0
        with self._unless_refused():
            name = nvml.nvmlDeviceGetName(handle)
        with self._unless_refused():
            clock_mhz = nvml.nvmlDeviceGetMaxClockInfo(handle, nvml.NVML_CLOCK_SM)
        with self._unless_refused():
            memory_kb = nvml.nvmlDeviceGetMemoryInfo(handle).total >> 10
        capability = ""
        with self._unless_refused():
            capability = "{}.{}".format(*nvml.nvmlDeviceGetCudaComputeCapability(handle))
        return Model(name.decode() if isinstance(name, bytes) else str(name), clock_mhz, memory_kb, capability)

    def driver(self) -> str:
        """The version of the driver; "" where it does not tell."""
        found: object = ""
        with self._unless_refused():
            found = self._library.nvmlSystemGetDriverVersion()
        return found.decode() if isinstance(found, bytes) else str(found)

    def cuda(self) -> str:
        """The newest CUDA that the driver can do (`12.4`); "" where it does not tell."""
        with self._unless_refused():
            number = int(self._library.nvmlSystemGetCudaDriverVersion())
            return f"{number // 1000}.{number % 1000 // 10}"
        return ""

    def use(self, pids: Collection[int], assigned: Collection[str] = ()) -> GpuUse:
        """What these processes use. In a PID namespace the driver's numbers are not ours: then what the whole of the
        devices `assigned` to the payload (by index or UUID) shows is taken for its own."""
        devices = self._look()
        mine = [(d, [p for p in pids if p in d.memory_kb or p in d.percent]) for d in devices]
        mine = [(device, own) for device, own in mine if own]
        if mine:
            memory_kb = [sum(d.memory_kb.get(p, 0) for p in own) for d, own in mine]
            percent = [d.percent.get(p, (0.0, 0.0)) for d, own in mine for p in own]
        else:
            mine = [(d, []) for d in devices if str(d.index) in assigned or d.uuid in assigned]
            mine = [(d, own) for d, own in mine if any(d.whole_percent) or d.memory_kb]
            memory_kb = [d.whole_memory_kb for d, _ in mine]
            percent = [d.whole_percent for d, _ in mine]
        return GpuUse(len(mine), sum(memory_kb), sum((p[0] for p in percent), 0.0), sum((p[1] for p in percent), 0.0))

    def _look(self) -> list[Device]:
        now = time.monotonic()
        if now - self._looked_at >= self._every_s:
            self._looked_at = now
            self._devices = [self._device(n, handle) for n, handle in enumerate(self._handles())]
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
        whole_memory_kb, whole_percent = 0, (0.0, 0.0)
        since_us = self._since_us.get(index, 0)
        with self._unless_refused():
            uuid = nvml.nvmlDeviceGetUUID(handle)
        for ask in (nvml.nvmlDeviceGetComputeRunningProcesses, nvml.nvmlDeviceGetGraphicsRunningProcesses):
            with self._unless_refused():
                memory_kb.update({one.pid: (one.usedGpuMemory or 0) >> 10 for one in ask(handle)})
        with self._unless_refused():
            for one in nvml.nvmlDeviceGetProcessUtilization(handle, since_us):
                percent[one.pid] = (float(one.smUtil), float(one.memUtil))
                self._since_us[index] = max(self._since_us.get(index, 0), one.timeStamp)
        with self._unless_refused():
            whole_memory_kb = nvml.nvmlDeviceGetMemoryInfo(handle).used >> 10
        with self._unless_refused():
            rates = nvml.nvmlDeviceGetUtilizationRates(handle)
            whole_percent = (float(rates.gpu), float(rates.memory))
        name = uuid.decode() if isinstance(uuid, bytes) else uuid
        return Device(index, name, memory_kb, percent, whole_memory_kb, whole_percent)

    @contextlib.contextmanager
    def _unless_refused(self) -> Iterator[None]:
        """A figure that the driver does not give stays as it was."""
        try:
            yield
        except self._library.NVMLError:
            return
