"""Which GPUs a pilot may share out, and what they are."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Mapping
from importlib.util import find_spec

from pilot.lib.node import NVIDIA_SMI, Gpu, NodeFacts, parse_nvidia_smi


def gpus_of(facts: NodeFacts, environ: Mapping[str, str]) -> tuple[Gpu, ...]:
    """The GPUs of the node, as fully as anybody tells: the driver's library, `nvidia-smi`, else the kernel.

    Nothing is asked where there is neither a driver nor the program.
    """
    path = environ.get("PATH")
    if not facts.gpus and shutil.which("nvidia-smi", path=path) is None:
        return ()
    if find_spec("pynvml") is None:
        from pilot.lib.nvidia_smi import NvidiaSmi, Refused

        try:
            smi = NvidiaSmi.find(path)
            return parse_nvidia_smi(smi.ask(NVIDIA_SMI[1])) if smi else facts.gpus
        except Refused:
            return facts.gpus
    from pilot.lib.gpu import Gpus

    known = Gpus.find(path)
    driver = next((gpu.driver for gpu in facts.gpus), "")
    models = Counter((one.name.removeprefix("NVIDIA "), one.memory_kb >> 10) for one in known.models()) if known else {}
    return tuple(Gpu("NVIDIA", name, n, size, driver=driver) for (name, size), n in models.items()) or facts.gpus


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
