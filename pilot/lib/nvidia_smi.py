"""What the program `nvidia-smi` tells of GPUs, in the form of the driver's library: for machines without nvidia-ml-py.

The program takes a tenth of a second or more: look seldom. It knows memory by process, and nothing else by process.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import NamedTuple

from pilot.lib.oneoff import hear

_LIMIT_S = 10.0
_DEVICES = "index,uuid,name,memory.used,memory.total,utilization.gpu,utilization.memory,clocks.max.sm"
_APPS = "gpu_uuid,pid,used_memory"
_FORM = "--format=csv,noheader,nounits"


class Refused(Exception):
    """A figure that the program does not tell."""


class Row(NamedTuple):
    """A GPU; memory in bytes, use in percent, clock in MHz."""

    uuid: str
    name: str
    used: int
    total: int
    gpu: int
    memory: int
    clock_mhz: int


class App(NamedTuple):
    """A process on a GPU; memory in bytes."""

    pid: int
    usedGpuMemory: int


class Memory(NamedTuple):
    """Memory of a GPU in bytes."""

    used: int
    total: int


class NvidiaSmi:
    """Answers like the module `pynvml`; a handle is a GPU's place in the program's list. Each count is a new look."""

    NVMLError = Refused
    NVML_CLOCK_SM = 1

    def __init__(self, program: str) -> None:
        self._program = program
        self._rows: list[Row] = []
        self._apps: dict[str, list[App]] = {}

    @classmethod
    def find(cls, path: str | None) -> NvidiaSmi | None:
        """The program on this search path, if it is there and knows of a GPU."""
        program = shutil.which("nvidia-smi", path=path)
        try:
            found = cls(program) if program else None
            return found if found and found.nvmlDeviceGetCount() else None
        except Refused:
            return None

    def ask(self, *words: str) -> str:
        """What the program says. Raises `Refused`."""
        try:
            done = hear((self._program, *words, _FORM), _LIMIT_S)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Refused(str(error)) from error
        if done.returncode:
            raise Refused(f"nvidia-smi: exit code {done.returncode}")
        return done.stdout

    def nvmlDeviceGetCount(self) -> int:
        """How many GPUs there are."""
        self._rows = devices(self.ask(f"--query-gpu={_DEVICES}"))
        self._apps = apps(self.ask(f"--query-compute-apps={_APPS}")) if self._rows else {}
        return len(self._rows)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> Row:
        """One of them."""
        return self._rows[index]

    def nvmlDeviceGetName(self, row: Row) -> str:
        """Its model."""
        return row.name

    def nvmlDeviceGetCudaComputeCapability(self, row: Row) -> tuple[int, int]:
        """Raises `Refused`: told by model elsewhere (`pilot.lib.node.NVIDIA_SMI`)."""
        raise Refused("capability")

    def nvmlSystemGetDriverVersion(self) -> str:
        """Of the driver."""
        return self._headline("Driver Version")

    def nvmlSystemGetCudaDriverVersion(self) -> int:
        """Of the newest CUDA that the driver can do, 12040 for 12.4: the program shows it above its table alone."""
        major, _, minor = self._headline("CUDA Version").partition(".")
        return int(major) * 1000 + int(minor or 0) * 10

    def _headline(self, name: str) -> str:
        try:
            found = re.search(rf"{name}:\s*(\d[\d.]*)", hear((self._program,), _LIMIT_S).stdout)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Refused(str(error)) from error
        if found is None:
            raise Refused(name)
        return found[1]

    def nvmlDeviceGetUUID(self, row: Row) -> str:
        """Its number in the world."""
        return row.uuid

    def nvmlDeviceGetMaxClockInfo(self, row: Row, kind: int) -> int:
        """The highest clock of its processors in MHz."""
        return row.clock_mhz

    def nvmlDeviceGetMemoryInfo(self, row: Row) -> Memory:
        """Its memory."""
        return Memory(row.used, row.total)

    def nvmlDeviceGetUtilizationRates(self, row: Row) -> Row:
        """Percent of the time in which its processors and its memory were at work."""
        return row

    def nvmlDeviceGetComputeRunningProcesses(self, row: Row) -> list[App]:
        """The processes on it."""
        return self._apps.get(row.uuid, [])

    def nvmlDeviceGetGraphicsRunningProcesses(self, row: Row) -> list[App]:
        """The program does not tell of them."""
        return []

    def nvmlDeviceGetProcessUtilization(self, row: Row, since: int) -> list[App]:
        """Raises `Refused`: the program does not tell."""
        raise Refused("by process")


def devices(text: str) -> list[Row]:
    """The lines of `--query-gpu` with the columns of this module; what is no such line is left out."""
    found = []
    for words in _lines(text):
        if len(words) == 8 and words[0].isdigit():
            used, total, gpu, memory, clock = (_number(word) for word in words[3:])
            found.append(Row(words[1], words[2], used << 20, total << 20, gpu, memory, clock))
    return found


def apps(text: str) -> dict[str, list[App]]:
    """The lines of `--query-compute-apps` by the GPU's UUID."""
    found: dict[str, list[App]] = {}
    for words in _lines(text):
        if len(words) == 3 and words[1].isdigit():
            found.setdefault(words[0], []).append(App(int(words[1]), _number(words[2]) << 20))
    return found


def _lines(text: str) -> list[list[str]]:
    return [[word.strip() for word in line.split(",")] for line in text.splitlines()]


def _number(word: str) -> int:
    """0 for `[N/A]` and the like."""
    found = re.match(r"\d+", word)
    return int(found[0]) if found else 0
