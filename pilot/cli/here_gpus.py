"""Which GPUs a pilot may share out, and what they are."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from msgspec.structs import replace

from pilot.lib.node import NVIDIA_SMI, Gpu, NodeFacts, architecture_of, parse_nvidia_smi


def gpus_of(facts: NodeFacts, environ: Mapping[str, str]) -> tuple[Gpu, ...]:
    """The GPUs of the node, as fully as anybody tells: the driver's library, `nvidia-smi`, else the kernel.

    Nothing is asked where there is neither a driver nor the program.
    """
    from pilot.lib.gpu import Gpus

    path = environ.get("PATH")
    if not facts.gpus and shutil.which("nvidia-smi", path=path) is None:
        return ()
    if find_spec("pynvml") is None:
        from pilot.lib.nvidia_smi import NvidiaSmi, Refused

        try:
            smi = NvidiaSmi.find(path)
            if smi is None:
                return facts.gpus
            found = parse_nvidia_smi(smi.ask(NVIDIA_SMI[1]))
        except Refused:
            return facts.gpus
        cuda = Gpus(smi).cuda()
        return tuple(replace(gpu, framework_version=cuda) for gpu in found)
    known = Gpus.find(path)
    if known is None:
        return facts.gpus
    driver, cuda = known.driver() or next((gpu.driver for gpu in facts.gpus), ""), known.cuda()
    models = Counter((one.name.removeprefix("NVIDIA "), one.memory_kb >> 10, one.capability) for one in known.models())
    return tuple(
        Gpu("NVIDIA", name, n, size, architecture_of(capability), driver, "CUDA" if cuda else "", cuda)
        for (name, size, capability), n in models.items()
    )


def to_share_out(facts: NodeFacts, environ: Mapping[str, str]) -> tuple[str, ...]:
    """The GPUs that jobs may get, by number or UUID: those that the batch system gave to this pilot, else all.

    As for CUDA, the list ends at the first word that can be no GPU (`NoDevFiles`, `-1`).
    """
    if not facts.gpus:
        return ()
    given = environ.get("CUDA_VISIBLE_DEVICES")
    if given is None:
        return tuple(str(number) for number in range(sum(gpu.count for gpu in facts.gpus)))
    found: list[str] = []
    for word in map(str.strip, given.split(",")):
        if not (word.isdigit() or word.startswith(("GPU-", "MIG-"))) or word in found:
            break
        found.append(word)
    return tuple(found)


def to_tell(facts: NodeFacts, shared: tuple[str, ...]) -> tuple[dict[str, Any], ...] | None:
    """What a server that asks for the hardware may know of the GPUs that jobs can get here (none: an empty list).

    None where the node has no GPU that we know of, or where we do not know all that a job may demand of one: a server
    takes what is not said for not fulfilled. Parts of a GPU, and some of several models, cannot be described either.
    """
    if not facts.gpus:
        return None
    if not shared:
        return ()
    partly = len(facts.gpus) > 1 and len(shared) < sum(gpu.count for gpu in facts.gpus)
    if partly or any(word.startswith("MIG-") for word in shared):
        return None
    told = [
        {
            "vendor": gpu.vendor,
            "model": gpu.model,
            "vram": gpu.memory_mb,
            "architecture": gpu.architecture,
            "framework": gpu.framework,
            "framework_version": gpu.framework_version,
            "driver_version": gpu.driver,
        }
        for gpu in facts.gpus
    ]
    return tuple(told) if all(all(one.values()) for one in told) else None
