"""What a payload may use up, and the judgement over what was seen. Pure: clock and figures come as arguments."""

from __future__ import annotations

import msgspec

from pilot.core.errors import (
    CoreDump,
    Failure,
    LoopingJob,
    NoLocalSpace,
    OutputFileTooLarge,
    Owner,
    PayloadExceedsMemory,
    PayloadOutOfMemory,
    PilotError,
    ReachedMaxTime,
    ResourceUnavailable,
    StdoutTooBig,
    UserDirTooLarge,
)
from pilot.core.usage import Sample, Usage


class Limits(msgspec.Struct, frozen=True, omit_defaults=True):
    """The limits of one payload; 0 means: none.

    `memory_mb` holds for the PSS of all processes. It is broken when the PSS exceeds it by `memory_grace` (a factor)
    for `memory_grace_s`. Time limits are multiplied by `time_grace`, the work directory's by `workdir_grace`.
    `output_mb` is the largest single output file, `stdout_mb` the payload's standard output or error (of which
    `stdout_keep_mb` of the head and as much of the tail are kept), `disk_free_mb` what must stay free on the file
    system of the work directory. `looping_s` is the longest time without any I/O or change of a file, `idle_s` the
    longest time without these and without CPU time.
    """

    memory_mb: int = 0
    cpu_s: int = 0
    wall_s: int = 0
    workdir_mb: int = 0
    output_mb: int = 0
    stdout_mb: int = 0
    disk_free_mb: int = 0
    processes: int = 0
    open_files: int = 0
    looping_s: int = 0
    idle_s: int = 0
    memory_grace: float = 1.0
    memory_grace_s: float = 0.0
    time_grace: float = 1.0
    workdir_grace: float = 1.2
    stdout_keep_mb: float = 10.0


class DiskLook(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a payload has on disk: sizes in bytes; `free` None where the file system does not tell.

    `fill_rate` is the speed in bytes per s at which the free space has shrunk of late, by whomever.
    """

    workdir: int = 0
    largest_output: tuple[str, int] = ("", 0)
    largest_log: tuple[str, int] = ("", 0)
    free: int | None = None
    fill_rate: float = 0.0

    @property
    def full_in_s(self) -> float | None:
        """When the disk will be full if it goes on like this; None if it does not fill."""
        return self.free / self.fill_rate if self.free is not None and self.fill_rate > 0 else None


class Quiet(msgspec.Struct, frozen=True, omit_defaults=True):
    """How long a payload has shown no sign of life, in s: no file touched and no I/O; no CPU time either.

    `states` counts the processes by the kernel's letter (`S` waits, `D` waits for I/O, `T` is stopped).
    """

    output_s: float = 0.0
    all_s: float = 0.0
    states: dict[str, int] = {}


def too_much(error: type[PilotError], what: str, value: str, limit: str, owner: Owner | None = None) -> Failure:
    """The failure of a broken limit: the message names the quantity, its value and the limit."""
    failure = error(f"{what} {value} over the limit of {limit}").failure()
    return msgspec.structs.replace(failure, owner=owner) if owner else failure


def over_memory(limits: Limits, sample: Sample) -> bool:
    """Whether this sample is over the memory limit, grace factor included; how long that may last is the caller's."""
    return bool(limits.memory_mb) and sample.pss_kb > limits.memory_mb * 1024 * limits.memory_grace


def memory_failure(limits: Limits, sample: Sample) -> Failure:
    """The failure of a payload whose memory stays over the limit."""
    return too_much(PayloadExceedsMemory, "PSS", f"{sample.pss_kb / 1024:.0f} MB", f"{limits.memory_mb} MB")


def broken(limits: Limits, sample: Sample) -> Failure | None:
    """Judge what one sample shows at once: CPU and wall time, processes, open files. None: all is well."""
    mine = Owner.PAYLOAD
    if limits.wall_s and sample.wall_s > limits.wall_s * limits.time_grace:
        return too_much(ReachedMaxTime, "wall time", f"{sample.wall_s:.1f} s", f"{limits.wall_s} s", mine)
    if limits.cpu_s and sample.cpu_s > limits.cpu_s * limits.time_grace:
        return too_much(ReachedMaxTime, "CPU time", f"{sample.cpu_s:.1f} s", f"{limits.cpu_s} s", mine)
    if limits.processes and sample.processes > limits.processes:
        return too_much(ResourceUnavailable, "processes", str(sample.processes), str(limits.processes), mine)
    if limits.open_files and sample.open_files > limits.open_files:
        return too_much(ResourceUnavailable, "open files", str(sample.open_files), str(limits.open_files), mine)
    return None


def broken_on_disk(limits: Limits, look: DiskLook) -> Failure | None:
    """Judge sizes of files and directory. Free space is judged apart: it is shared by all payloads of a node."""
    name, size = look.largest_log
    if limits.stdout_mb and size > limits.stdout_mb << 20:
        return too_much(StdoutTooBig, name, _mb(size), f"{limits.stdout_mb} MB")
    name, size = look.largest_output
    if limits.output_mb and size > limits.output_mb << 20:
        return too_much(OutputFileTooLarge, name, _mb(size), f"{limits.output_mb} MB")
    if limits.workdir_mb and look.workdir > (limits.workdir_mb << 20) * limits.workdir_grace:
        return too_much(UserDirTooLarge, "work directory", _mb(look.workdir), f"{limits.workdir_mb} MB")
    return None


def disk_full(limits: Limits, look: DiskLook) -> Failure | None:
    """Judge the free space: what is left, what must stay, and when nothing would have been left."""
    if not limits.disk_free_mb or look.free is None or look.free >= limits.disk_free_mb << 20:
        return None
    when = f", full in {look.full_in_s:.0f} s at {look.fill_rate / 1e6:.1f} MB/s" if look.full_in_s else ""
    return NoLocalSpace(f"{_mb(look.free)} free, {limits.disk_free_mb} MB must stay{when}").failure()


def looping(limits: Limits, quiet: Quiet) -> Failure | None:
    """Judge how long nothing has happened."""
    states = " ".join(f"{count}{letter}" for letter, count in sorted(quiet.states.items()))
    stopped = "; all processes are stopped" if quiet.states and set(quiet.states) <= {"T", "t"} else ""
    if limits.idle_s and quiet.all_s > limits.idle_s:
        what = "no CPU time, I/O or change of a file for"
        return LoopingJob(f"{what} {quiet.all_s:.0f} s, limit {limits.idle_s} s ({states}){stopped}").failure()
    if limits.looping_s and quiet.output_s > limits.looping_s:
        what = "no I/O or change of a file for"
        return LoopingJob(f"{what} {quiet.output_s:.0f} s, limit {limits.looping_s} s ({states}){stopped}").failure()
    return None


def out_of_memory(limits: Limits, oom_kills: int, peak_kb: int) -> Failure | None:
    """Judge what the kernel had to end for lack of memory in the payload's cgroup."""
    if not oom_kills:
        return None
    limit = f", limit {limits.memory_mb} MB" if limits.memory_mb else ""
    return PayloadOutOfMemory(f"the kernel ended processes of it (peak {peak_kb / 1024:.0f} MB{limit})").failure()


def aftermath(limits: Limits, usage: Usage) -> Failure | None:
    """Judge what only shows once a payload has ended: ended by the kernel for lack of memory, core dumps left."""
    killed = out_of_memory(limits, usage.oom_kills, usage.cgroup_peak_kb or usage.max_pss_kb)
    if killed is None and usage.core_dumps:
        return CoreDump(", ".join(usage.core_dumps[:5])).failure()
    return killed


def _mb(size: int) -> str:
    return f"{size / (1 << 20):.1f} MB"
