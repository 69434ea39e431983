"""What kind of machine this is: processors, memory, GPUs, read from /proc and /sys below a root."""

from __future__ import annotations

import os
import re
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec

_V2 = frozenset({"cx16", "lahf_lm", "popcnt", "sse4_1", "sse4_2", "ssse3"})
_V3 = _V2 | {"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe"}
_V4 = _V3 | {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}


class Gpu(msgspec.Struct, frozen=True, omit_defaults=True):
    """GPUs of one model. Memory in MB."""

    vendor: str
    model: str
    count: int = 1
    memory_mb: int = 0
    architecture: str = ""
    driver: str = ""
    framework: str = ""
    framework_version: str = ""


class NodeFacts(msgspec.Struct, frozen=True, omit_defaults=True):
    """The machine. Cache in KB, clock in MHz, memory in MB, disk in GB."""

    model: str = ""
    cache_kb: int = 0
    logical: int = 1
    cores: int = 1
    sockets: int = 1
    architecture: str = ""
    level: str = ""
    avx2: bool = False
    clock_mhz: float = 0.0
    memory_mb: int = 0
    disk_gb: int = 0
    gpus: tuple[Gpu, ...] = ()

    @property
    def cores_per_socket(self) -> int:
        """Physical cores of one socket."""
        return max(1, self.cores // self.sockets)

    @property
    def threads_per_core(self) -> int:
        """Hardware threads of one core."""
        return max(1, self.logical // self.cores)

    @property
    def cpu_unit(self) -> str:
        """`cpuConsumptionUnit` in the form that the server's statistics read (protocol.md 3.1)."""
        parts = [self.model or self.architecture or "unknown"]
        if self.cache_kb:
            parts.append(f"{self.cache_kb} KB")
        parts.append(f"{self.cores}-Core Processor")
        if self.threads_per_core > 1:
            parts.append("HT")
        parts.append(f"{self.sockets}-Socket{'s' if self.sockets > 1 else ''}")
        return f"s+{' '.join(parts)}{'+AVX2' if self.avx2 else ''}"


def read_node(root: Path = Path("/"), disk: Path | None = None) -> NodeFacts:
    """The facts of the machine whose /proc lies below `root`; `disk` is a directory on the disk that jobs use."""
    processors = _processors(_text(root / "proc/cpuinfo"))
    first = processors[0] if processors else {}
    flags = frozenset((first.get("flags") or first.get("Features") or "").split())
    pairs = {(p.get("physical id", "0"), p.get("core id", str(at))) for at, p in enumerate(processors)}
    memory = re.search(r"MemTotal:\s+(\d+) kB", _text(root / "proc/meminfo"))
    return NodeFacts(
        model=" ".join((first.get("model name") or first.get("Processor") or "").split()),
        cache_kb=_number(first.get("cache size", "")),
        logical=max(1, len(processors)),
        cores=max(1, len(pairs)),
        sockets=max(1, len({socket for socket, _ in pairs})),
        architecture=os.uname().machine if root == Path("/") else _architecture(first),
        level=level(flags),
        avx2="avx2" in flags,
        clock_mhz=_clock(root, first),
        memory_mb=int(memory[1]) // 1024 if memory else 0,
        disk_gb=_disk_gb(disk),
        gpus=nvidia_gpus(root),
    )


def level(flags: frozenset[str]) -> str:
    """The x86-64 level that the flags of /proc/cpuinfo allow; empty for other architectures."""
    # The kernel calls LZCNT `abm`, and SSE3 `pni`.
    for needed, name in ((_V4, "x86-64-v4"), (_V3, "x86-64-v3"), (_V2, "x86-64-v2")):
        if needed <= flags:
            return name
    return "x86-64-v1" if "sse2" in flags else ""


def nvidia_gpus(root: Path) -> tuple[Gpu, ...]:
    """What the NVIDIA driver tells without any program; memory and architecture are not among it."""
    models = Counter(
        found[1].strip()
        for file in sorted((root / "proc/driver/nvidia/gpus").glob("*/information"))
        if (found := re.search(r"^Model:\s*(.+)$", _text(file), re.MULTILINE))
    )
    driver = re.search(r"Kernel Module(?: for \S+)?\s+([\d.]+)", _text(root / "proc/driver/nvidia/version"))
    version = driver[1] if driver else ""
    return tuple(Gpu("NVIDIA", model.removeprefix("NVIDIA "), count, driver=version) for model, count in models.items())


#: The command whose output `parse_nvidia_smi` reads.
NVIDIA_SMI = (
    "nvidia-smi",
    "--query-gpu=name,memory.total,driver_version,compute_cap",
    "--format=csv,noheader,nounits",
)
#: Compute capability -> architecture; of two that begin alike the longer one counts.
_ARCHITECTURES = {
    "6": "Pascal",
    "7.0": "Volta",
    "7.5": "Turing",
    "8": "Ampere",
    "8.9": "Ada Lovelace",
    "9": "Hopper",
    "10": "Blackwell",
    "12": "Blackwell",
}


def architecture_of(capability: str) -> str:
    """The family of a GPU by its compute capability; "" for an unknown one."""
    return _ARCHITECTURES.get(capability) or _ARCHITECTURES.get(capability.partition(".")[0], "")


def parse_nvidia_smi(text: str) -> tuple[Gpu, ...]:
    """The GPUs by model, out of `nvidia-smi`'s lines."""
    counted: Counter[tuple[str, ...]] = Counter()
    for line in text.splitlines():
        words = tuple(word.strip() for word in line.split(","))
        if len(words) >= 4:
            counted[words[:4]] += 1
    return tuple(
        Gpu(
            vendor="NVIDIA",
            model=name.removeprefix("NVIDIA "),
            count=count,
            memory_mb=_number(memory),
            architecture=architecture_of(capability),
            driver=driver,
            framework="CUDA",
        )
        for (name, memory, driver, capability), count in counted.items()
    )


def worker_node(facts: NodeFacts, site: str, host: str, queue: str) -> dict[str, Any]:
    """The `worker_node` map of protocol.md 1.7: for the server's call and for a job's metadata. Unknown is left out."""
    values: dict[str, Any] = {
        "site": site,
        "host_name": host,
        "cpu_model": facts.model or "unknown",
        "panda_queue": queue,
        "n_logical_cpus": facts.logical,
        "n_sockets": facts.sockets,
        "cores_per_socket": facts.cores_per_socket,
        "threads_per_core": facts.threads_per_core,
        "cpu_architecture": facts.architecture,
        "cpu_architecture_level": facts.level,
        "clock_speed": facts.clock_mhz,
        "total_memory": facts.memory_mb,
        "total_local_disk": facts.disk_gb,
    }
    return {name: value for name, value in values.items() if value or name in ("site", "host_name", "cpu_model")}


def worker_node_gpus(facts: NodeFacts, site: str, host: str) -> list[dict[str, Any]]:
    """The `worker_node_gpus` maps, one for each model."""
    return [
        {"site": site, "host_name": host, "vendor": gpu.vendor, "model": gpu.model, "count": gpu.count}
        | {
            name: value
            for name, value in {
                "vram": gpu.memory_mb,
                "architecture": gpu.architecture,
                "framework": gpu.framework,
                "framework_version": gpu.framework_version,
                "driver_version": gpu.driver,
            }.items()
            if value
        }
        for gpu in facts.gpus
    ]


def _processors(text: str) -> list[dict[str, str]]:
    blocks = [block for block in text.split("\n\n") if "processor" in block]
    return [
        {
            name.strip(): value.strip()
            for name, colon, value in (line.partition(":") for line in block.splitlines())
            if colon
        }
        for block in blocks
    ]


def _architecture(first: dict[str, str]) -> str:
    return "aarch64" if "CPU implementer" in first else "x86_64" if "flags" in first else ""


def _clock(root: Path, first: dict[str, str]) -> float:
    """The highest clock that the processor is made for; what it runs at now changes from moment to moment."""
    if highest := _number(_text(root / "sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq")):
        return highest / 1000
    named = re.search(r"@\s*([\d.]+)\s*GHz", first.get("model name", ""))
    if named:
        return round(float(named[1]) * 1000, 1)
    try:
        return float(first.get("cpu MHz", ""))
    except ValueError:
        return 0.0


def _disk_gb(disk: Path | None) -> int:
    if disk is None:
        return 0
    try:
        facts = os.statvfs(disk)
    except OSError:
        return 0
    return facts.f_blocks * facts.f_frsize // 1000**3


def _number(text: str) -> int:
    found = re.match(r"\s*(\d+)", text)
    return int(found[1]) if found else 0


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
